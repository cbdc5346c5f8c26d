"""What is asked of appliances: once (`Constraint`), or again and again (`Series`)."""

from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from uuid_utils.compat import uuid7

from accounts.access import ScopedQuerySet
from accounts.models import User
from flexibility.resolver import PHYSICAL, EmitterKind
from inventory.models import (
    Appliance,
    Cluster,
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
            (EmitterKind.OPERATOR.value, pgettext_lazy("by", "staff")),
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
    # What a policy asks for from when on nobody has asked it anew, and what a share of a limit is
    # from a later instant on, should nobody divide it anew.
    fallback = models.BooleanField(_("if it is not asked again"), default=False, editable=False)
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
    # Of what another one took the place of, with its id: that id. What was asked stays on record.
    version_of = models.UUIDField(null=True, editable=False, db_index=True)
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
            models.UniqueConstraint(
                fields=["limit", "appliance"],
                condition=Q(fallback=False),
                name="constraint_one_share",
            ),
            models.UniqueConstraint(
                fields=["policy", "appliance", "fallback"],
                condition=Q(policy__isnull=False, withdrawn_at__isnull=True),
                name="constraint_one_wish_a_policy",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_emitter_kind_display()}: {self.target}"

    @property
    def target(self) -> Appliance | Cluster | SystemPool:
        return self.appliance or self.cluster or self.pool

    @property
    def zone(self) -> ZoneInfo:
        """By whose clock it is told: its target's."""
        return self.pool.zone if self.pool_id else self.target.system.zone

    @property
    def dims(self) -> bool:
        """Whether a grid operator asks for it, be it by a limit of which it is a share."""
        said_by = self.emitter_kind if self.limit_id is None else self.limit.emitter_kind
        return said_by == EmitterKind.GRID_OPERATOR


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
