"""What is asked of appliances, what remains of it, and what their gateways do about it.

Powers in W in the passive sign convention, energies in Wh; null is no statement. Constraints end
by being withdrawn, so that the past can be told.
"""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.access import ScopedQuerySet
from accounts.models import User
from flexibility.allotment import Strategy
from flexibility.charging import Mode
from flexibility.resolver import PHYSICAL, EmitterKind
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    OfSystemQuerySet,
    System,
    SystemPool,
    validate_time_zone,
)


def not_over(at: datetime) -> Q:
    """That a row's validity has not ended by this instant; one without an end never does."""
    return Q(invalid_at=None) | Q(invalid_at__gt=at)


class OfTargetQuerySet(ScopedQuerySet):
    """Rows about one of several things (`targets`, foreign keys): who sees that sees them."""

    targets: tuple[str, ...] = ()

    def visible_to(self, user) -> Self:
        if user.is_authenticated and user.is_active and user.is_staff:
            return self
        seen = Q(pk__in=[])
        for target in self.targets:
            model = self.model._meta.get_field(target).related_model
            seen |= Q(**{f"{target}__in": model.objects.visible_to(user)})
        return self.filter(seen)


class ConstraintQuerySet(OfTargetQuerySet):
    targets = ("appliance", "cluster", "pool")


class Constraint(models.Model):
    """A range and/or a set point for one appliance, or for each member of a cluster or a pool.

    Of a cluster or a pool, `kinds` says for which kinds of appliances; empty is all that can be
    controlled. Members that come later are meant too.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    appliance = models.ForeignKey(
        Appliance,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("appliance"),
    )
    # With a group its constraints go; what came of them stays (`ResolvedBoundary`, audit log).
    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("cluster")
    )
    pool = models.ForeignKey(
        SystemPool, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("pool")
    )
    kinds = ArrayField(models.CharField(max_length=24), default=list, blank=True)
    priority = models.IntegerField(_("priority"))
    min_w = models.FloatField(_("least power"), null=True, help_text="W")
    max_w = models.FloatField(_("greatest power"), null=True, help_text="W")
    set_point_w = models.FloatField(_("set point"), null=True, help_text="W")
    closest = models.BooleanField(_("or as close as allowed"), default=False)
    pausable = models.BooleanField(_("may also pause"), default=False)
    min_wh = models.FloatField(_("least energy"), null=True, help_text="Wh")
    max_wh = models.FloatField(_("greatest energy"), null=True, help_text="Wh")
    valid_at = models.DateTimeField(_("valid from"))
    invalid_at = models.DateTimeField(_("valid until"), null=True)
    emitter_kind = models.CharField(
        _("set by"),
        max_length=16,
        choices=[
            (EmitterKind.DRIVER.value, _("the appliance itself")),
            (EmitterKind.FUSE.value, _("a fuse")),
            (EmitterKind.GRID_OPERATOR.value, _("the grid operator")),
            (EmitterKind.OPERATOR.value, _("staff")),
            (EmitterKind.ACCOUNT_USER.value, _("the fleet manager")),
            (EmitterKind.CLUSTER_LIMIT.value, _("a shared limit")),
            (EmitterKind.LOCAL_USER.value, _("the resident")),
            (EmitterKind.CHARGING_POLICY.value, _("a charging policy")),
        ],
    )
    emitter = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("person")
    )
    # The shared limit of which this is an appliance's share: it goes where the limit goes.
    limit = models.ForeignKey(
        "SharedLimit",
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("shared limit"),
    )
    # The charging policy that asks for it: it goes where the policy goes.
    policy = models.ForeignKey(
        "ChargingPolicy",
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("charging policy"),
    )
    # The dimming of the whole system of which this is a part.
    dimming = models.ForeignKey(
        "Dimming",
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("dimming"),
    )
    # The series of which it is one occurrence.
    series = models.ForeignKey(
        "Series",
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("series"),
    )
    # What a gateway says of an appliance replaces what it said of it before.
    from_gateway = models.BooleanField(_("said by the gateway"), default=False)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("withdrawn by")
    )

    objects = ConstraintQuerySet.as_manager()

    class Meta:
        verbose_name = _("constraint")
        verbose_name_plural = _("constraints")
        indexes = [
            # Those that may still take part; a constraint that ended is read by its id alone.
            models.Index(
                fields=[target, "invalid_at"],
                name=f"constraint_of_{target}",
                condition=Q(withdrawn_at__isnull=True) & Q(**{f"{target}__isnull": False}),
            )
            for target in ("appliance", "cluster", "pool")
        ]
        constraints = [
            models.CheckConstraint(
                name="constraint_one_target",
                condition=Q(appliance__isnull=False, cluster__isnull=True, pool__isnull=True)
                | Q(appliance__isnull=True, cluster__isnull=False, pool__isnull=True)
                | Q(appliance__isnull=True, cluster__isnull=True, pool__isnull=False),
            ),
            models.CheckConstraint(
                name="constraint_power_order",
                condition=Q(min_w__isnull=True) | Q(max_w__isnull=True) | Q(min_w__lte=F("max_w")),
            ),
            models.CheckConstraint(
                name="constraint_energy_order",
                condition=Q(min_wh__isnull=True)
                | Q(max_wh__isnull=True)
                | Q(min_wh__lte=F("max_wh")),
            ),
            models.CheckConstraint(
                name="constraint_set_point_in_range",
                condition=Q(set_point_w__isnull=True)
                | (
                    (Q(min_w__isnull=True) | Q(min_w__lte=F("set_point_w")))
                    & (Q(max_w__isnull=True) | Q(set_point_w__lte=F("max_w")))
                ),
            ),
            models.CheckConstraint(
                name="constraint_validity",
                condition=Q(invalid_at__isnull=True) | Q(valid_at__lt=F("invalid_at")),
            ),
            models.CheckConstraint(
                name="constraint_physical_is_the_drivers",
                condition=Q(
                    emitter_kind=EmitterKind.DRIVER.value,
                    priority=PHYSICAL,
                    appliance__isnull=False,
                )
                | (
                    ~Q(emitter_kind=EmitterKind.DRIVER.value)
                    & Q(priority__gte=0, priority__lt=PHYSICAL, pausable=False)
                    & Q(invalid_at__isnull=False)
                ),
            ),
            models.UniqueConstraint(
                fields=["appliance"],
                condition=Q(emitter_kind=EmitterKind.DRIVER.value, withdrawn_at__isnull=True),
                name="constraint_one_driver",
            ),
            models.CheckConstraint(
                name="constraint_share_of_limit",
                condition=Q(
                    emitter_kind=EmitterKind.CLUSTER_LIMIT.value,
                    limit__isnull=False,
                    appliance__isnull=False,
                )
                | (~Q(emitter_kind=EmitterKind.CLUSTER_LIMIT.value) & Q(limit__isnull=True)),
            ),
            # A share that changes is changed in place, so that the table does not grow.
            models.UniqueConstraint(fields=["limit", "appliance"], name="constraint_one_share"),
            models.UniqueConstraint(
                fields=["appliance"],
                condition=Q(policy__isnull=False, withdrawn_at__isnull=True),
                name="constraint_one_policy",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_emitter_kind_display()}: {self.target}"

    @property
    def target(self) -> Appliance | Cluster | SystemPool:
        return self.appliance or self.cluster or self.pool


class SeriesQuerySet(OfTargetQuerySet):
    targets = ("appliance", "cluster", "pool", "system")


_SERIES_OF = ("appliance", "cluster", "pool", "system")


class Series(models.Model):
    """Limits at times of the day that come again: each occurrence is a constraint.

    Of a system, `kinds` says which of the appliances that it had are meant; of a cluster or a pool
    as in `Constraint`. `parts` are what is asked for, each with the times of the day between which
    it is (`recurrence.Frame`); an empty list of `weekdays` (Monday is 0) is all of them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=timezone.now, editable=False)
    appliance = models.ForeignKey(
        Appliance,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("appliance"),
    )
    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("cluster")
    )
    pool = models.ForeignKey(
        SystemPool, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("pool")
    )
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("system")
    )
    kinds = ArrayField(models.CharField(max_length=24), default=list, blank=True)
    title = models.CharField(_("title"), max_length=200, blank=True)
    from_at = models.DateTimeField(_("from"))
    until_at = models.DateTimeField(_("until"))
    time_zone = models.CharField(_("time zone"), max_length=64, validators=[validate_time_zone])
    weekdays = ArrayField(models.SmallIntegerField(), default=list, blank=True)
    parts = models.JSONField(_("times of the day"), default=list)
    priority = models.IntegerField(_("priority"))
    emitter_kind = models.CharField(
        _("set by"),
        max_length=16,
        choices=Constraint._meta.get_field("emitter_kind").choices,
    )
    emitter = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("person")
    )
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("withdrawn by")
    )

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name = _("series of constraints")
        verbose_name_plural = _("series of constraints")
        constraints = [
            models.CheckConstraint(
                name="series_one_target",
                condition=Q(
                    *(
                        Q(**{f"{other}__isnull": other != target for other in _SERIES_OF})
                        for target in _SERIES_OF
                    ),
                    _connector=Q.OR,
                ),
            ),
            models.CheckConstraint(name="series_order", condition=Q(from_at__lt=F("until_at"))),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.get_emitter_kind_display()}: {self.target}"

    @property
    def target(self) -> Appliance | Cluster | SystemPool | System:
        return self.appliance or self.cluster or self.pool or self.system


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

    `changes_at` is when the next constraint begins or ends.
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
    refusal = models.CharField(_("refusal"), max_length=64, blank=True)
    refusal_detail = models.CharField(_("detail"), max_length=200, blank=True)

    objects = GatewayScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule of a gateway")
        verbose_name_plural = _("schedules of gateways")

    def __str__(self) -> str:
        return f"{self.gateway}: {self.revision}"


class SystemMark(models.Model):
    """A system whose members, clusters or pools have changed: to be resolved anew.

    Written by the database itself (migration `0002_marks`), whoever changes them.
    """

    id = models.BigAutoField(primary_key=True)
    system_id = models.UUIDField()

    class Meta:
        verbose_name = _("system to resolve")
        verbose_name_plural = _("systems to resolve")


class SharedLimitQuerySet(OfSystemQuerySet):
    account_path = "cluster__system__account__path"
    system_path = "cluster__system"

    def valid(self, now: datetime) -> Self:
        """Those that hold at `now`."""
        return self.filter(not_over(now), withdrawn_at=None, valid_at__lte=now)


class SharedLimit(models.Model):
    """A limit for the sum of what the members of a cluster, and of those within it, use or give.

    `kinds` are as in `Constraint`. A `dynamic` one is the limit of the system's grid connection:
    the members have what the load beside them leaves. One that is set as a fuse is what the wiring
    bears; only such a one may hold without an end. `order` is that in which `SERIES` fills.

    `tallies` are what the last allotment found (`allotment.Tally`), `balanced_at` is when, and
    `due_at` is when to look again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, related_name="+", verbose_name=_("cluster")
    )
    kinds = ArrayField(models.CharField(max_length=24), default=list, blank=True)
    priority = models.IntegerField(_("priority"))
    min_w = models.FloatField(_("least power"), null=True, help_text="W")
    max_w = models.FloatField(_("greatest power"), null=True, help_text="W")
    phase_max_w = ArrayField(
        models.FloatField(), verbose_name=_("greatest power by phase"), size=3, null=True
    )
    strategy = models.CharField(
        _("strategy"),
        max_length=24,
        default=Strategy.EQUALLY.value,
        choices=[
            (Strategy.EQUALLY.value, _("equally")),
            (Strategy.PROPORTIONAL.value, _("by the greatest power of each")),
            (Strategy.FIRST_COME_FIRST_SERVE.value, _("first come, first served")),
            (Strategy.SERIES.value, _("one after the other")),
        ],
    )
    order = ArrayField(models.UUIDField(), default=list, blank=True)
    dynamic = models.BooleanField(_("of the grid connection"), default=False)
    valid_at = models.DateTimeField(_("valid from"))
    invalid_at = models.DateTimeField(_("valid until"), null=True)
    emitter_kind = models.CharField(
        _("set by"),
        max_length=16,
        choices=Constraint._meta.get_field("emitter_kind").choices,
    )
    emitter = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("person")
    )
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("withdrawn by")
    )
    due_at = models.DateTimeField(_("due"))
    balanced_at = models.DateTimeField(_("divided"), null=True)
    tallies = models.JSONField(_("found"), default=list)

    objects = SharedLimitQuerySet.as_manager()

    class Meta:
        verbose_name = _("shared limit")
        verbose_name_plural = _("shared limits")
        indexes = [
            models.Index(
                fields=["due_at"], name="limit_due", condition=Q(withdrawn_at__isnull=True)
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="limit_says_something",
                condition=Q(min_w__isnull=False)
                | Q(max_w__isnull=False)
                | Q(phase_max_w__isnull=False),
            ),
            # Beyond 0 it would be an order, and a share never gives one.
            models.CheckConstraint(
                name="limit_leaves_zero",
                condition=(Q(min_w__isnull=True) | Q(min_w__lte=0))
                & (Q(max_w__isnull=True) | Q(max_w__gte=0)),
            ),
            models.CheckConstraint(
                name="limit_validity",
                condition=Q(invalid_at__isnull=True, emitter_kind=EmitterKind.FUSE.value)
                | Q(valid_at__lt=F("invalid_at")),
            ),
            models.CheckConstraint(
                name="limit_is_not_physical",
                condition=Q(priority__gte=0, priority__lt=PHYSICAL),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_emitter_kind_display()}: {self.cluster}"

    @property
    def fuse(self) -> bool:
        """Whether it is what the wiring bears, so that only physics can break it."""
        return self.emitter_kind == EmitterKind.FUSE

    @property
    def is_reachable(self) -> bool:
        """Whether it is kept whatever the members do, as far as was found last."""
        return all(tally["over_w"] == 0 for tally in self.tallies)


class Share(models.Model):
    """How one appliance gets on with a shared limit: what its turns, its ramps and pages go by.

    The share itself is the constraint's range. Until the gateway has confirmed it, a wider one may
    still be in force: `wide_min_w` and `wide_max_w` are the widest, null where none is known to
    hold, and `unconfirmed_since` says for how long.
    """

    constraint = models.OneToOneField(
        Constraint, on_delete=models.CASCADE, primary_key=True, related_name="share"
    )
    paused_since = models.DateTimeField(_("paused since"), null=True)
    running_since = models.DateTimeField(_("running since"), null=True)
    asks_since = models.DateTimeField(_("asks for power since"), null=True)
    wide_min_w = models.FloatField(_("least power that may be kept to"), null=True)
    wide_max_w = models.FloatField(_("greatest power that may be kept to"), null=True)
    unconfirmed_since = models.DateTimeField(_("unconfirmed since"), null=True)
    why_min = models.CharField(_("reason of the least"), max_length=16)
    why_max = models.CharField(_("reason of the greatest"), max_length=16)

    class Meta:
        verbose_name = _("share of a limit")
        verbose_name_plural = _("shares of limits")

    def __str__(self) -> str:
        return str(self.constraint)


class ChargingPolicyQuerySet(OfTargetQuerySet):
    targets = ("appliance", "cluster", "system")


class ChargingPolicy(models.Model):
    """How charging stations charge: one of them, or all of a cluster or a system.

    Of several that concern a station the one that weighs most asks, then the newer.
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
    """What the policy of a charging station asked for last, why, and what it has to remember.

    `memory` is `charging.State`, `reason` is `charging.Reason`, both as JSON. `from_wh` is what the
    station's counter showed when the policy began.
    """

    appliance = models.OneToOneField(
        Appliance, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    policy = models.ForeignKey(ChargingPolicy, on_delete=models.CASCADE, related_name="+")
    asked_at = models.DateTimeField(_("asked"))
    memory = models.JSONField(default=dict)
    reason = models.JSONField(default=dict)
    from_wh = models.FloatField(null=True)

    objects = FlexibilityQuerySet.as_manager()

    class Meta:
        verbose_name = _("state of a charging station")
        verbose_name_plural = _("states of charging stations")

    def __str__(self) -> str:
        return str(self.appliance)


class Dimming(models.Model):
    """A grid operator's signal to a whole system: from when until when it takes less.

    What each appliance may draw meanwhile are constraints of their own, tied together by it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, related_name="+", verbose_name=_("system")
    )
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

    `reaction_s`: until its power was, and stayed, within the limit; null where it never was.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    dimming = models.ForeignKey(Dimming, on_delete=models.CASCADE, related_name="proofs")
    appliance = models.ForeignKey(Appliance, on_delete=models.PROTECT, related_name="+")
    limit_w = models.FloatField(_("limit"))
    reaction_s = models.FloatField(_("reaction time"), null=True)
    highest_w = models.FloatField(_("highest power since"), null=True)
    measured_share = models.FloatField(_("share of the time measured"))

    objects = DimmingProofQuerySet.as_manager()

    class Meta:
        verbose_name = _("proof of a dimming")
        verbose_name_plural = _("proofs of dimmings")
        constraints = [
            models.UniqueConstraint(fields=["dimming", "appliance"], name="dimming_proof_once")
        ]

    def __str__(self) -> str:
        return f"{self.dimming}: {self.appliance}"
