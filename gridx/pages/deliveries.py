"""How far what is asked of appliances has come, in words and gateway by gateway."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.models import Flexibility, GatewaySchedule
from flexibility.queries import Delivery, Now, delivery_of
from flexibility.resolver import EmitterKind
from flexibility.sentences import moment
from gridx.pages.lines import Tag
from inventory.models import Appliance, Gateway, System

# How a schedule fares: a colour, a word, and what it means.
_DELIVERIES = {
    Delivery.PENDING: ("info", gettext_lazy("pending"), gettext_lazy("It is about to be sent.")),
    Delivery.SENT: (
        "info",
        gettext_lazy("sent"),
        gettext_lazy("The gateway has not confirmed it yet."),
    ),
    Delivery.APPLIED: ("ok", gettext_lazy("applied"), gettext_lazy("The gateway keeps to it.")),
    Delivery.REFUSED: ("bad", gettext_lazy("refused"), gettext_lazy("The gateway refuses it.")),
    Delivery.TIMED_OUT: (
        "warn",
        gettext_lazy("no answer"),
        gettext_lazy("The gateway gets it as soon as it is back."),
    ),
}
_UNSENT = (
    "warn",
    gettext_lazy("not sent"),
    gettext_lazy("It could not be sent yet; the gateway gets it as soon as that is possible."),
)
IN_TRANSIT = {Delivery.PENDING, Delivery.SENT}
# So many gateways are shown one by one, those first that need somebody.
MOST_GATEWAYS = 100
_ORDER = (
    Delivery.REFUSED,
    Delivery.TIMED_OUT,
    Delivery.PENDING,
    Delivery.SENT,
    Delivery.NONE,
    Delivery.APPLIED,
)


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """A gateway, and how far it is with the appliances that are meant; None where there is none.

    `is_fail_safe`: by its word one of them keeps to its fail-safe limit.
    """

    gateway: Gateway | None
    system: System
    appliances: tuple[Appliance, ...]
    tag: Tag
    refusal: str
    is_fail_safe: bool
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """`counts`: each state with its number of gateways and its code; `lines`: those of one."""

    counts: tuple[tuple[Tag, int, str], ...]
    lines: tuple[GatewayLine, ...]
    left_out: int
    shown: str
    is_in_transit: bool


def deliveries(appliances: Iterable[Appliance], *, now: datetime, shown: str = "") -> Deliveries:
    """How far the gateways of these appliances are; `shown` is the state (a code) to be listed.

    Of a gateway's appliances the one counts that is least far. By a fixed number of queries;
    appliances come with their system.
    """
    by_gateway: dict[tuple[UUID, UUID | None], list[Appliance]] = {}
    for one in appliances:
        by_gateway.setdefault((one.system_id, one.gateway_id), []).append(one)
    gateway_ids = {gateway for _system, gateway in by_gateway if gateway}
    gateways = Gateway.objects.filter(revoked_at=None).in_bulk(gateway_ids)
    schedules = GatewaySchedule.objects.defer("body", "kept_body").in_bulk(gateway_ids)
    members = [one.pk for group in by_gateway.values() for one in group]
    kept = Flexibility.objects.defer("inputs").in_bulk(members)
    found = [
        _line(group, gateways.get(gateway_id), schedules.get(gateway_id), kept, now)
        for (_system, gateway_id), group in by_gateway.items()
    ]
    found.sort(key=lambda each: (_ORDER.index(each[0]), each[1].system.name))
    counts = Counter(state for state, _line in found)
    listed = [line for state, line in found if shown in ("", state.value)]
    return Deliveries(
        counts=tuple(
            (words_of_delivery(one), counts[one], one.value) for one in _ORDER if counts[one]
        ),
        lines=tuple(listed[:MOST_GATEWAYS]),
        left_out=max(len(listed) - MOST_GATEWAYS, 0),
        shown=shown,
        is_in_transit=any(state in IN_TRANSIT for state in counts),
    )


def _line(
    group: Sequence[Appliance],
    gateway: Gateway | None,
    schedule: GatewaySchedule | None,
    kept: dict[UUID, Flexibility],
    now: datetime,
) -> tuple[Delivery, GatewayLine]:
    if gateway is None:
        schedule = None
    states = [delivery_of(schedule, kept.get(one.pk), now=now) for one in group]
    state = min(states, key=_ORDER.index)
    refusals = [kept[one.pk] for one in group if one.pk in kept and kept[one.pk].refusal]
    said = refusals[0] if refusals else schedule
    is_refused = state is Delivery.REFUSED
    return state, GatewayLine(
        gateway=gateway,
        system=group[0].system,
        appliances=tuple(group),
        tag=words_of_delivery(
            state,
            has_gateway=gateway is not None,
            is_sent=schedule is not None and schedule.is_sent,
        ),
        refusal=(said.refusal_detail or said.refusal) if is_refused and said else "",
        is_fail_safe=any(kept[one.pk].applied_fail_safe for one in group if one.pk in kept),
        confirmed_at=schedule.acknowledged_at if schedule else None,
    )


def delivery_tag(flexibility: Now, *, now: datetime, zone: ZoneInfo) -> Tag | None:
    """How far the gateway is; None where there is nothing for it to keep to."""
    kept = flexibility.kept
    if kept is not None and kept.applied_fail_safe:
        detail = _(
            "The gateway has not heard of the platform for too long, or has no valid schedule, and "
            "keeps to its safe limit."
        )
        return Tag("warn", _("fail-safe"), detail)
    if flexibility.delivery is Delivery.NONE or not is_asked(flexibility):
        return None
    said = words_of_delivery(flexibility.delivery, is_sent=flexibility.is_sent)
    if flexibility.delivery is Delivery.REFUSED:
        return replace(said, code=flexibility.refusal)
    if flexibility.delivery is Delivery.APPLIED and kept is not None and kept.applied_at:
        since = {"when": moment(kept.applied_at, now=now, zone=zone)}
        return replace(said, detail=_("Confirmed by the gateway: %(when)s.") % since)
    return said


def words_of_delivery(delivery: Delivery, *, has_gateway: bool = True, is_sent: bool = True) -> Tag:
    """How far a gateway is, in words; of what is late, whether it is its turn or ours."""
    if not has_gateway:
        return Tag("warn", _("no gateway"), _("Nobody can tell it: no gateway is connected to it."))
    if delivery is Delivery.NONE:
        detail = _("The gateway is told at least a day before it begins.")
        return Tag("", _("nothing to send yet"), detail)
    is_ours = delivery is Delivery.TIMED_OUT and not is_sent
    tone, label, detail = _UNSENT if is_ours else _DELIVERIES[delivery]
    return Tag(tone, str(label), str(detail))


def is_asked(flexibility: Now) -> bool:
    """Whether anybody but its own driver asks something of it."""
    return any(one.row.emitter_kind != EmitterKind.DRIVER for one in flexibility.constraints)
