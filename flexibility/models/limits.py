"""Limits for the sum of many, and how each gets on with its share."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.models import User
from flexibility.allotment import Strategy
from flexibility.models.constraints import Constraint, not_over
from flexibility.resolver import PHYSICAL, EmitterKind
from inventory.models import (
    Cluster,
    OfSystemQuerySet,
    System,
)


class SharedLimitQuerySet(OfSystemQuerySet):
    account_path = "system__account__path"
    system_path = "system"

    def valid(self, now: datetime) -> Self:
        """Those that hold at `now`."""
        return self.filter(not_over(now), withdrawn_at=None, valid_at__lte=now)


class SharedLimit(models.Model):
    """A limit for the sum of what the members of a cluster, and of those within it, use or give.

    Without a cluster it is for the whole system, whatever is in its clusters; with a `dimming` it
    came with that. `kinds` are as in `Constraint`, `members` the only ones that it is for where it
    names any. To a `max_w` that is `net` the site's own production adds, as far as its other loads
    leave of it, so that it bounds what is drawn from the grid. A `dynamic` one is the limit of the
    system's grid connection: the members have what the load beside them leaves. One that is set as
    a fuse is what the wiring bears; only such a one may hold without an end. `order` is that in
    which `SERIES` fills.

    `tallies` are what the last allotment found (`allotment.Tally`), `balanced_at` is when, and
    `due_at` is when to look again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, related_name="+", verbose_name=_("system")
    )
    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("cluster")
    )
    dimming = models.ForeignKey(
        "Dimming",
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("dimming"),
    )
    members = ArrayField(models.UUIDField(), default=list, blank=True)
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
    net = models.BooleanField(_("own production adds"), default=False)
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
        return f"{self.get_emitter_kind_display()}: {self.target}"

    @property
    def target(self) -> Cluster | System:
        """Whose sum it limits."""
        return self.cluster or self.system

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
    hold, and `unconfirmed_since` says for how long. `ahead` tells the same of later instants: what
    it may be from each of them on, by all schedules that may be in force.
    """

    constraint = models.OneToOneField(
        Constraint, on_delete=models.CASCADE, primary_key=True, related_name="share"
    )
    paused_since = models.DateTimeField(_("paused since"), null=True)
    running_since = models.DateTimeField(_("running since"), null=True)
    asks_since = models.DateTimeField(_("asks for power since"), null=True)
    unused_since = models.DateTimeField(_("takes nothing since"), null=True)
    wide_min_w = models.FloatField(_("least power that may be kept to"), null=True)
    wide_max_w = models.FloatField(_("greatest power that may be kept to"), null=True)
    unconfirmed_since = models.DateTimeField(_("unconfirmed since"), null=True)
    ahead = models.JSONField(_("what it may be later"), default=list)
    why_min = models.CharField(_("reason of the least"), max_length=16)
    why_max = models.CharField(_("reason of the greatest"), max_length=16)

    class Meta:
        verbose_name = _("share of a limit")
        verbose_name_plural = _("shares of limits")

    def __str__(self) -> str:
        return str(self.constraint)
