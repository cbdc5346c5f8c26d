"""What needs somebody: gateways, schedules, stations, limits and constraints in a user's sight.

Each is a list, the newest or the worst first. And what nobody does (`overdue`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest, RowNumber

from accounts.models import User
from flexibility.limits.balancing import due_limits
from flexibility.limits.members import CONFIRMED_WITHIN
from flexibility.models import (
    BulkAction,
    BulkItem,
    Constraint,
    Flexibility,
    GatewaySchedule,
    SharedLimit,
)
from flexibility.policies.asking import due_policies
from flexibility.queries import SAID_WITHIN
from flexibility.resolver import EmitterKind
from flexibility.sweeping import due_boundaries
from inventory.kinds import ApplianceKind, Plug
from inventory.models import Appliance, Gateway
from inventory.queries import LOST, GatewayState, with_state
from inventory.silence import STALE_AT_LEAST
from measurements.models import LatestReading

# A schedule is sent at once; the workers look for what is to be sent every second.
SENT_WITHIN = timedelta(seconds=10)
# What is due is done within seconds, as long as the scheduler and the workers run.
DONE_WITHIN = timedelta(minutes=1)
# A constraint or limit that ends within this is about to end.
ABOUT_TO_END = timedelta(hours=24)
# So long may an appliance take to follow, and so far from its limit a meter may be.
FOLLOWED_WITHIN = timedelta(minutes=1)
ACCURACY, ACCURATE_TO_W = 0.02, 100.0
# Of a limit, so much is nearly all.
NEARLY = 0.95

_OVER = "jsonb_path_exists(tallies, '$[*] ? (@.over_w == null || @.over_w > 0 || @.blind == true)')"
# What is to be had of a limit now (a dynamic one is not always the same), and what is drawn of it.
_ROOM = """(
    SELECT min((tally ->> 'limit_w')::float) FROM jsonb_array_elements(tallies) AS tally
    WHERE tally ->> 'side' = 'max' AND tally ->> 'phase' IS NULL
)"""
_DRAWN = """(
    SELECT sum(greatest(reading.power_w, 0))
    FROM flexibility_constraint AS share
    JOIN inventory_appliance AS appliance ON appliance.id = share.appliance_id
    JOIN inventory_system AS system ON system.id = appliance.system_id
    JOIN measurements_latestreading AS reading
        ON reading.system_key = system.key AND reading.appliance_key = appliance.key
    WHERE share.limit_id = flexibility_sharedlimit.id AND share.withdrawn_at IS NULL
        AND NOT share.fallback
)"""

_UNSENT = Q(published_revision__lt=F("revision"))
_UNCONFIRMED = Q(acknowledged_revision__lt=F("revision"))

_BY_PEOPLE = (EmitterKind.OPERATOR, EmitterKind.ACCOUNT_USER, EmitterKind.LOCAL_USER)


@dataclass(frozen=True, slots=True)
class Overdue:
    """How much was due a while ago and is not done, of each kind, and since when (`due_at`)."""

    due_at: datetime
    boundaries: int
    limits: int
    policies: int


def overdue(user: User, *, now: datetime) -> Overdue | None:
    """What the scheduler and the workers should have done in the user's sight; mostly nothing.

    By three queries, whose indexes hold little more than what is due.
    """
    late = now - DONE_WITHIN
    boundaries = due_boundaries(now=late).visible_to(user)
    limits = due_limits(now=now).filter(due_at__lte=late).visible_to(user)
    # One that begins later is asked for what is to hold then: nothing depends on it yet.
    policies = due_policies(now=late).filter(created_at__lte=late, valid_at__lte=late)
    asked_at = Greatest(Coalesce("asked_at", "created_at"), "valid_at")
    found = [
        rows.order_by().aggregate(count=Count("pk"), due_at=Min(due_at))
        for rows, due_at in (
            (boundaries, "changes_at"),
            (limits, "due_at"),
            (policies.visible_to(user), asked_at),
        )
    ]
    since = [one["due_at"] for one in found if one["count"]]
    return Overdue(min(since), *(one["count"] for one in found)) if since else None


def lost_gateways(user: User, *, now: datetime) -> QuerySet:
    """Gateways that were there and are not heard (`state`), the latest loss first."""
    rows = with_state(Gateway.objects.visible_to(user), now=now).filter(state__in=LOST)
    return rows.select_related("system").order_by("-contacted_at", "pk")


def unseen_gateways(user: User, *, now: datetime) -> QuerySet:
    """Gateways that were registered, but have never been there."""
    rows = with_state(Gateway.objects.visible_to(user), now=now)
    return rows.filter(state=GatewayState.NEVER)


def undelivered(user: User, *, now: datetime) -> QuerySet:
    """Schedules that were refused, whole or for an appliance, or that did not arrive in time.

    `is_unsent`: the newest is not even sent. `is_late`: nothing was acknowledged for too long.
    `is_refusing`: for an appliance. Else a boundary has passed, and the gateway has not said for
    too long that it keeps to what holds since.
    """
    refusing = _of_gateways().exclude(refusal="")
    behind = _of_gateways().filter(
        _is_behind(), resolved_at__lt=now + SAID_WITHIN - CONFIRMED_WITHIN
    )
    is_old = Q(made_at__lt=now - SENT_WITHIN, waiting_since__lt=now - SENT_WITHIN)
    rows = _schedules(user).annotate(
        is_unsent=_UNSENT & is_old,
        is_late=(_UNSENT | _UNCONFIRMED) & Q(waiting_since__lt=now - CONFIRMED_WITHIN),
        is_refusing=Exists(refusing),
    )
    is_behind = ~(_UNSENT | _UNCONFIRMED) & Exists(behind)
    needs_somebody = Q(is_unsent=True) | Q(is_late=True) | Q(is_refusing=True) | is_behind
    rows = rows.filter(~Q(refusal="") | needs_somebody)
    return rows.select_related("gateway__system").order_by("-made_at", "pk")


def unconfirmed(user: User, *, now: datetime) -> QuerySet:
    """Schedules that are still to be sent or to be acknowledged, late or not.

    And those of which a boundary has passed, until the gateway says that it keeps to what holds
    since; where that was not even looked at yet, nobody knows.
    """
    behind = _of_gateways().filter(_is_behind() | Q(changes_at__lte=now))
    return _schedules(user).filter(_UNSENT | _UNCONFIRMED | Exists(behind))


def _of_gateways() -> QuerySet[Flexibility]:
    """What remains for the appliances of each gateway of a list."""
    return Flexibility.objects.filter(appliance__gateway=OuterRef("pk"), appliance__removed_at=None)


def _is_behind() -> Q:
    """Whether what a gateway said last of an appliance is about what held before.

    As `queries.delivery_of` has it.
    """
    is_applied = Q()
    for name in ("min_w", "max_w", "set_point_w"):
        both_open = Q(**{name: None, f"applied_{name}": None})
        is_applied &= Q(**{f"applied_{name}": F(name)}) | both_open
    return Q(applied_at__lt=F("resolved_at") - SAID_WITHIN) & ~is_applied


def _schedules(user: User) -> QuerySet[GatewaySchedule]:
    rows = GatewaySchedule.objects.visible_to(user).filter(gateway__revoked_at=None)
    waiting_since = Coalesce(F("unconfirmed_since"), F("made_at"))
    return rows.defer("body", "kept_body").alias(waiting_since=waiting_since)


def failing_stations(user: User, *, now: datetime) -> QuerySet:
    """Charging stations that report a fault, or an error."""
    faulty = LatestReading.objects.filter(
        appliance_key=OuterRef("key"),
        system_key=OuterRef("system__key"),
        plug_state=Plug.FAULT.value,
    )
    rows = Appliance.objects.visible_to(user).filter(
        Exists(faulty) | Q(status=Appliance.Status.ERROR),
        kind=ApplianceKind.EV_CHARGING_STATION,
        removed_at=None,
    )
    return rows.select_related("system").order_by("system__name", "name", "pk")


def unreachable_limits(user: User, *, now: datetime) -> QuerySet:
    """Shared limits that some exceed whatever is done, or of which nobody knows what is left."""
    return _limits(_valid_limits(user, now).filter(is_over=True))


def exceeding(user: User, *, now: datetime) -> QuerySet:
    """Appliances and grid connections beyond what they may do for a while now (`power_w`)."""
    fresh = LatestReading.objects.filter(
        appliance_key=OuterRef("appliance__key"),
        system_key=OuterRef("appliance__system__key"),
        power_at__gte=now - STALE_AT_LEAST,
    )
    rows = (
        Flexibility.objects.visible_to(user)
        .filter(appliance__removed_at=None, resolved_at__lt=now - FOLLOWED_WITHIN)
        .annotate(power_w=Subquery(fresh.values("power_w")[:1]))
        .filter(
            Q(max_w__gte=0, power_w__gt=F("max_w") * (1 + ACCURACY) + ACCURATE_TO_W)
            | Q(min_w__lte=0, power_w__lt=F("min_w") * (1 + ACCURACY) - ACCURATE_TO_W)
        )
    )
    return rows.select_related("appliance__system").order_by("appliance__system", "pk")


def limits_nearly_reached(user: User, *, now: datetime) -> QuerySet:
    """Shared limits of which nearly all is drawn now (`drawn_w`), the strongest first.

    But those that cannot be kept (`unreachable_limits`).
    """
    rows = _valid_limits(user, now).exclude(max_w=None).exclude(is_over=True)
    drawn = rows.annotate(drawn_w=RawSQL(_DRAWN, ()), room_w=RawSQL(_ROOM, ()))  # noqa: S611
    return _limits(drawn.filter(room_w__gt=0, drawn_w__gte=NEARLY * F("room_w")))


def ending_constraints(user: User, *, now: datetime) -> QuerySet:
    """What people ask for and what is over soon, the soonest first.

    What was set together (`action`, a `BulkAction` in the user's sight) is one.
    """
    rows = Constraint.objects.visible_to(user).filter(
        withdrawn_at=None,
        valid_at__lte=now,
        invalid_at__gt=now,
        invalid_at__lte=now + ABOUT_TO_END,
        emitter_kind__in=_BY_PEOPLE,
        # What comes again by itself, or follows a policy, needs nobody.
        series=None,
        policy=None,
    )
    # What a bulk action sets has the id of its item.
    seen = BulkItem.objects.filter(action__in=BulkAction.objects.visible_to(user))
    rows = rows.annotate(action=Subquery(seen.filter(pk=OuterRef("pk")).values("action")))
    together = [Coalesce(F("action"), F("pk"))]
    place = Window(RowNumber(), partition_by=together, order_by=["invalid_at", "pk"])
    shown = rows.select_related("appliance__system", "cluster__system", "pool", "emitter")
    return shown.annotate(place=place).filter(place=1).order_by("invalid_at", "pk")


def ending_limits(user: User, *, now: datetime) -> QuerySet:
    """Shared limits that people set and that are over soon, the soonest first."""
    rows = _valid_limits(user, now).filter(
        invalid_at__lte=now + ABOUT_TO_END, emitter_kind__in=_BY_PEOPLE, dimming=None
    )
    return _limits(rows).order_by("invalid_at", "pk")


def _valid_limits(user: User, now: datetime) -> QuerySet[SharedLimit]:
    """Those in sight that hold now, and whether they are exceeded whatever is done (`is_over`)."""
    # Nobody's input is in these statements.
    is_over = RawSQL(_OVER, ())  # noqa: S611
    return SharedLimit.objects.visible_to(user).valid(now).annotate(is_over=is_over)


def _limits(rows: QuerySet[SharedLimit]) -> QuerySet[SharedLimit]:
    return rows.select_related("system", "cluster").order_by("-priority", "pk")
