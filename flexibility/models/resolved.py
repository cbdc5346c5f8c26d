"""What remains of what is asked, and what the gateways were told of it."""

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from inventory.models import (
    Appliance,
    Gateway,
    OfSystemQuerySet,
)


class Resolved(models.Model):
    """What remains for an appliance (`resolver.Boundary`), who decides it, and from what.

    `deciders` holds constraint ids by the part that they decide (`resolver.Deciders`). `inputs`
    are copies of the constraints that had a say, with what became of each, so that a later change
    of a constraint rewrites nothing.
    """

    min_w = models.FloatField(_("least power"), null=True)
    max_w = models.FloatField(_("greatest power"), null=True)
    set_point_w = models.FloatField(_("set point"), null=True)
    can_pause = models.BooleanField(_("may also pause"), default=False)
    min_wh = models.FloatField(_("least energy"), null=True)
    max_wh = models.FloatField(_("greatest energy"), null=True)
    deciders = models.JSONField(_("decided by"), default=dict)
    inputs = models.JSONField(_("inputs"), default=list)

    class Meta:
        abstract = True


class FlexibilityQuerySet(OfSystemQuerySet):
    account_path = "appliance__system__account__path"
    system_path = "appliance__system"


class Flexibility(Resolved):
    """An appliance as it may be used now, and what its gateway says that it keeps to.

    `changes_at` is when the next constraint begins or ends, or else when to look again.
    """

    appliance = models.OneToOneField(
        Appliance, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    resolved_at = models.DateTimeField(_("resolved"))
    changes_at = models.DateTimeField(_("changes at"), null=True, db_index=True)
    applied_min_w = models.FloatField(_("least power kept to"), null=True)
    applied_max_w = models.FloatField(_("greatest power kept to"), null=True)
    applied_set_point_w = models.FloatField(_("set point kept to"), null=True)
    applied_fail_safe = models.BooleanField(_("in its fail-safe"), default=False)
    applied_at = models.DateTimeField(_("said at"), null=True)
    applied_revision = models.BigIntegerField(_("revision kept to"), null=True)
    refusal = models.CharField(_("refusal"), max_length=64, blank=True)
    refusal_detail = models.CharField(_("detail"), max_length=200, blank=True)

    objects = FlexibilityQuerySet.as_manager()

    class Meta:
        verbose_name = _("flexibility")
        verbose_name_plural = _("flexibilities")

    def __str__(self) -> str:
        return str(self.appliance)

    @property
    def is_applied(self) -> bool:
        """Whether the gateway says that it keeps to just what remains."""
        kept = self.applied_min_w, self.applied_max_w, self.applied_set_point_w
        return kept == (self.min_w, self.max_w, self.set_point_w)


class ResolvedBoundary(Resolved):
    """What held for an appliance from `at` on, and why: the audit of all that was asked.

    A row is written whenever the boundary or what became of a constraint changes, and holds until
    the next one.
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "at")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("resolved boundary")
        verbose_name_plural = _("resolved boundaries")


class GatewayScheduleQuerySet(OfSystemQuerySet):
    account_path = "gateway__system__account__path"
    system_path = "gateway__system"


class GatewaySchedule(models.Model):
    """The newest schedule of a gateway: what all of its appliances are to keep to for two days.

    `body` is the list of its appliances' timelines, as the gateway link sends it.
    """

    gateway = models.OneToOneField(
        Gateway, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    revision = models.BigIntegerField(_("revision"), default=0)
    made_at = models.DateTimeField(_("made"))
    until_at = models.DateTimeField(_("reaches until"))
    body = models.JSONField(_("timelines"), default=list)
    published_revision = models.BigIntegerField(_("revision sent"), default=0)
    published_at = models.DateTimeField(_("sent"), null=True)
    acknowledged_revision = models.BigIntegerField(_("revision acknowledged"), default=0)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    # Newer revisions do not move it: else a gateway would never be late where they come often.
    # Of one that has confirmed the newest it says nothing.
    unconfirmed_since = models.DateTimeField(_("nothing confirmed since"), null=True)
    refusal = models.CharField(_("refusal"), max_length=64, blank=True)
    refusal_detail = models.CharField(_("detail"), max_length=200, blank=True)
    # The last that it took over while it was the newest: it goes on by that while out of reach.
    kept_until_at = models.DateTimeField(_("kept to until"), null=True)
    kept_body = models.JSONField(_("timelines kept to"), default=list)

    objects = GatewayScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule of a gateway")
        verbose_name_plural = _("schedules of gateways")

    def __str__(self) -> str:
        return f"{self.gateway}: {self.revision}"

    @property
    def is_sent(self) -> bool:
        """Whether the newest has reached the broker."""
        return self.published_revision >= self.revision

    @property
    def is_confirmed(self) -> bool:
        """Whether the gateway has answered to the newest, be it that it refuses it."""
        return self.acknowledged_revision >= self.revision

    @property
    def waiting_since(self) -> datetime:
        """Where the newest is not sent or not confirmed: since when there is no answer."""
        return self.unconfirmed_since or self.made_at


class SystemMark(models.Model):
    """A system whose members, clusters or pools have changed: to be resolved anew.

    Written by the database itself (migration `0002_marks`), whoever changes them.
    """

    id = models.BigAutoField(primary_key=True)
    system_id = models.UUIDField()

    class Meta:
        verbose_name = _("system to resolve")
        verbose_name_plural = _("systems to resolve")
