"""How charging stations charge, and what was asked of them last."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.models import User
from flexibility.models.constraints import OfTargetQuerySet
from flexibility.models.resolved import FlexibilityQuerySet
from flexibility.policies.terms import Mode
from inventory.models import (
    Appliance,
    Cluster,
    System,
)


class ChargingPolicyQuerySet(OfTargetQuerySet):
    targets = ("appliance", "cluster", "system")


class ChargingPolicy(models.Model):
    """How charging stations charge: one of them, or all of a cluster or a system.

    Of several that concern a station each asks, and the resolver says which one is followed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    appliance = models.ForeignKey(
        Appliance,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("charging station"),
    )
    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("cluster")
    )
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("system")
    )
    mode = models.CharField(
        _("mode"),
        max_length=20,
        choices=[
            (Mode.FORCED.value, _("full power")),
            (Mode.SURPLUS.value, _("sun only")),
            (Mode.MINIMUM_AND_SURPLUS.value, _("minimum and sun")),
            (Mode.OFF.value, _("off")),
            (Mode.DEPARTURE.value, _("ready by a time")),
        ],
    )
    energy_wh = models.FloatField(_("energy until departure"), null=True, help_text="Wh")
    departs_at = models.DateTimeField(_("departure"), null=True)
    priority = models.IntegerField(_("priority"))
    valid_at = models.DateTimeField(_("valid from"))
    invalid_at = models.DateTimeField(_("valid until"), null=True)
    emitter = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("person")
    )
    asked_at = models.DateTimeField(_("last asked"), null=True)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("withdrawn by")
    )

    objects = ChargingPolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("charging policy")
        verbose_name_plural = _("charging policies")
        indexes = [
            models.Index(
                fields=["asked_at"],
                name="charging_policy_standing",
                condition=Q(withdrawn_at__isnull=True),
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="charging_policy_one_target",
                condition=Q(appliance__isnull=False, cluster__isnull=True, system__isnull=True)
                | Q(appliance__isnull=True, cluster__isnull=False, system__isnull=True)
                | Q(appliance__isnull=True, cluster__isnull=True, system__isnull=False),
            ),
            models.CheckConstraint(
                name="charging_policy_departure",
                condition=Q(
                    mode=Mode.DEPARTURE.value, energy_wh__isnull=False, departs_at__isnull=False
                )
                | (
                    ~Q(mode=Mode.DEPARTURE.value)
                    & Q(energy_wh__isnull=True, departs_at__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="charging_policy_validity",
                condition=Q(invalid_at__isnull=True) | Q(valid_at__lt=F("invalid_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_mode_display()}: {self.target}"

    @property
    def target(self) -> Appliance | Cluster | System:
        return self.appliance or self.cluster or self.system


class ChargingState(models.Model):
    """What a policy asked of a charging station last, why, and what it has to remember.

    `memory` is `charging.State`, `reason` is `charging.Reason`, both as JSON. `from_wh` is what the
    station's counter showed when the policy began.
    """

    appliance = models.ForeignKey(Appliance, on_delete=models.CASCADE, related_name="+")
    policy = models.ForeignKey(ChargingPolicy, on_delete=models.CASCADE, related_name="+")
    asked_at = models.DateTimeField(_("asked"))
    memory = models.JSONField(default=dict)
    reason = models.JSONField(default=dict)
    from_wh = models.FloatField(null=True)

    objects = FlexibilityQuerySet.as_manager()

    class Meta:
        verbose_name = _("state of a charging station")
        verbose_name_plural = _("states of charging stations")
        constraints = [
            models.UniqueConstraint(
                fields=["appliance", "policy"], name="charging_state_one_a_policy"
            )
        ]

    def __str__(self) -> str:
        return str(self.appliance)
