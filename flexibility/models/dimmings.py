"""A grid operator's signals, and what was measured meanwhile."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.models import User
from inventory.kinds import DimmingMode
from inventory.models import (
    Appliance,
    OfSystemQuerySet,
    System,
)


class Dimming(models.Model):
    """A grid operator's signal to a whole system: from when until when it takes less.

    What each appliance may draw meanwhile are constraints of their own, tied together by it; in
    the mode of one sum, they are the shares of the limit of that sum.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, related_name="+", verbose_name=_("system")
    )
    mode = models.CharField(
        _("mode"),
        max_length=8,
        default=DimmingMode.DIRECT.value,
        choices=System._meta.get_field("dimming_mode").choices,
    )
    # Of one sum: how it comes about (`rules.SumLimit`).
    terms = models.JSONField(_("how it comes about"), null=True)
    valid_at = models.DateTimeField(_("valid from"))
    invalid_at = models.DateTimeField(_("valid until"))
    emitter = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", verbose_name=_("grid operator")
    )
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True)

    objects = OfSystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("dimming")
        verbose_name_plural = _("dimmings")
        indexes = [models.Index(fields=["system", "valid_at"], name="dimming_of_system")]
        constraints = [
            models.CheckConstraint(
                name="dimming_validity", condition=Q(valid_at__lt=F("invalid_at"))
            )
        ]

    def __str__(self) -> str:
        return f"{self.system}: {self.valid_at:%Y-%m-%d %H:%M}"

    @property
    def ended_at(self) -> datetime:
        """When it is, or was, over."""
        return min(self.invalid_at, self.withdrawn_at or self.invalid_at)


class DimmingProofQuerySet(OfSystemQuerySet):
    account_path = "dimming__system__account__path"
    system_path = "dimming__system"


class DimmingProof(models.Model):
    """What was measured of one appliance during a dimming: kept when the readings are gone.

    Without an appliance it is of what all draw together. `reaction_s`: until its power was, and
    stayed, within the limit; null where it never was.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    dimming = models.ForeignKey(Dimming, on_delete=models.CASCADE, related_name="proofs")
    appliance = models.ForeignKey(Appliance, on_delete=models.PROTECT, null=True, related_name="+")
    limit_w = models.FloatField(_("limit"))
    reaction_s = models.FloatField(_("reaction time"), null=True)
    highest_w = models.FloatField(_("highest power since"), null=True)
    measured_share = models.FloatField(_("share of the time measured"))

    objects = DimmingProofQuerySet.as_manager()

    class Meta:
        verbose_name = _("proof of a dimming")
        verbose_name_plural = _("proofs of dimmings")
        constraints = [
            models.UniqueConstraint(
                fields=["dimming", "appliance"], nulls_distinct=False, name="dimming_proof_once"
            )
        ]

    def __str__(self) -> str:
        whose = self.appliance or _("all together")
        return f"{self.dimming}: {whose}"
