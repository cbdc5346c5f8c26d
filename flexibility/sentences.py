"""What remains of constraints, and why, in words for people.

Powers are said as they are shown: of what produces, by what it gives (`Side.sign`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from flexibility import words
from flexibility.asking import (
    GIVE,
    RENEWED,
    STORE,
    USE,
    Side,
    asked,
    energy_held,
    kilowatt_hours,
    kilowatts,
    moment,
)
from flexibility.bars import sides
from flexibility.emitters import ceiling, default_priority, floor
from flexibility.queries import Explained, Span
from flexibility.resolver import Boundary, EmitterKind
from measurements.formats import number

_BECAUSE = {
    EmitterKind.DRIVER: gettext_lazy("because it can do no other"),
    EmitterKind.FUSE: gettext_lazy("because of a fuse"),
    EmitterKind.GRID_OPERATOR: gettext_lazy("because the grid operator asks for it"),
    EmitterKind.OPERATOR: gettext_lazy("because staff set it"),
    EmitterKind.ACCOUNT_USER: gettext_lazy("because the fleet manager set it"),
    EmitterKind.CLUSTER_LIMIT: gettext_lazy("because of a limit that it shares"),
    EmitterKind.LOCAL_USER: gettext_lazy("because the resident set it"),
    EmitterKind.CHARGING_POLICY: gettext_lazy("because of a charging policy"),
}
# Beside a bar: short.
EMITTERS: dict[str, str | Promise] = {
    EmitterKind.DRIVER: pgettext_lazy("emitter", "physical"),
    EmitterKind.FUSE: pgettext_lazy("emitter", "fuse"),
    EmitterKind.GRID_OPERATOR: pgettext_lazy("emitter", "grid operator"),
    EmitterKind.OPERATOR: pgettext_lazy("emitter", "staff"),
    EmitterKind.ACCOUNT_USER: pgettext_lazy("emitter", "fleet"),
    EmitterKind.CLUSTER_LIMIT: pgettext_lazy("emitter", "shared limit"),
    EmitterKind.LOCAL_USER: pgettext_lazy("emitter", "resident"),
    EmitterKind.CHARGING_POLICY: pgettext_lazy("emitter", "policy"),
}
# What a side of the boundary says: of each family for powers above, at and below 0.
_GREATEST = {
    USE: (
        gettext_lazy("May use at most %(power)s"),
        gettext_lazy("Must not use any power"),
        gettext_lazy("Must give back at least %(power)s"),
    ),
    STORE: (
        gettext_lazy("May charge with at most %(power)s"),
        gettext_lazy("Must not charge"),
        gettext_lazy("Must discharge with at least %(power)s"),
    ),
    GIVE: (
        gettext_lazy("May produce at most %(power)s"),
        gettext_lazy("Must not produce"),
        gettext_lazy("Must draw at least %(power)s"),
    ),
}
_LEAST = {
    USE: (
        gettext_lazy("Must use at least %(power)s"),
        gettext_lazy("Must not give back any power"),
        gettext_lazy("May give back at most %(power)s"),
    ),
    STORE: (
        gettext_lazy("Must charge with at least %(power)s"),
        gettext_lazy("Must not discharge"),
        gettext_lazy("May discharge with at most %(power)s"),
    ),
    GIVE: (
        gettext_lazy("Must produce at least %(power)s"),
        gettext_lazy("Must not draw any power"),
        gettext_lazy("May draw at most %(power)s"),
    ),
}
_ENERGY = {
    "max_wh": gettext_lazy("May hold at most %(energy)s"),
    "min_wh": gettext_lazy("Must hold at least %(energy)s"),
}
_POINT = {
    USE: (
        gettext_lazy("Is to use %(power)s"),
        gettext_lazy("Is to pause"),
        gettext_lazy("Is to give back %(power)s"),
    ),
    STORE: (
        gettext_lazy("Is to charge with %(power)s"),
        gettext_lazy("Is to rest"),
        gettext_lazy("Is to discharge with %(power)s"),
    ),
    GIVE: (
        gettext_lazy("Is to produce %(power)s"),
        gettext_lazy("Is not to produce"),
        gettext_lazy("Is to draw %(power)s"),
    ),
}


# What holds --------------------------------------------------------------------------------------


def allowed(boundary: Boundary, side: Side) -> str:
    """A boundary in few words: "4.14 kW to 22 kW, or off", "exactly 7 kW", "no limit"; and with
    what energy, where that is limited: "at most 3 kW, holding at least 4 kWh"."""
    power = _power_allowed(boundary, side)
    if energy := energy_held(boundary.min_wh, boundary.max_wh):
        return _("%(power)s, holding %(energy)s") % {"power": power, "energy": energy}
    return power


def _power_allowed(boundary: Boundary, side: Side) -> str:
    low, high, point = sides(boundary, side.sign)
    if point is not None and point != 0:
        return _("exactly %(power)s") % {"power": kilowatts(point)}
    if point == 0:
        return _("off")
    if low is None and high is None:
        return _("no limit")
    if low == high == 0:
        return _("off")
    values = {"min_w": boundary.min_w, "max_w": boundary.max_w, "pausable": boundary.can_pause}
    return asked(values, side)


def foreseen(span: Span, side: Side, *, now: datetime) -> str:
    """The same of a span; of one to come that a policy decides no more than that it does.

    It is asked every few seconds: what holds if it is not is no forecast.
    """
    is_to_be_asked = any(one.get("fallback") and one.get("policy") for one in _deciding(span))
    if is_to_be_asked and span.from_at > now:
        return _("as its charging policy asks then")
    return allowed(span.boundary, side)


@dataclass(frozen=True, slots=True)
class Statement:
    """What holds and why, and what comes then (empty where nothing changes soon)."""

    says: str
    then: str


def statement(
    spans: Sequence[Span],
    side: Side,
    *,
    now: datetime,
    zone: ZoneInfo,
    own: Collection[str] = (),
) -> Statement:
    """What holds in the first of consecutive spans: "May use at most 11 kW until 18:00, …".

    `own`: the ids of the constraints that the reader has set.
    """
    spans = _as_asked(spans)
    clauses = [_clause(spans, part, side, now, zone, own) for part in _worth_saying(spans[0], side)]
    says = _sentence(clauses) if clauses else _left_alone(spans[0].boundary, side)
    then = ""
    after = next(
        (one for one in spans if allowed(one.boundary, side) != allowed(spans[0].boundary, side)),
        None,
    )
    if after is not None:
        then = _("From %(when)s: %(what)s.") % {
            "when": moment(after.from_at, now=now, zone=zone),
            "what": foreseen(after, side, now=now),
        }
    return Statement(says, then)


def _sentence(clauses: Sequence[str]) -> str:
    """Clauses that each begin with a verb, as one sentence."""
    first, *others = clauses
    return "; ".join([first, *(one[:1].lower() + one[1:] for one in others)]) + "."


def _as_asked(spans: Sequence[Span]) -> Sequence[Span]:
    """As far as something else than not being asked again changes what a policy asks for.

    It is asked every few seconds: what holds if it is not is no news.
    """
    asking = {one.get("policy") for one in _deciding(spans[0])} - {None}

    def is_news(span: Span) -> bool:
        alone = {one.get("policy") for one in _deciding(span) if one.get("fallback")}
        return span.boundary == spans[0].boundary or not alone & asking

    return list(takewhile(is_news, spans))


def _deciding(span: Span) -> list[Mapping[str, Any]]:
    deciders = set(span.deciders.values())
    return [one for one in span.inputs if one["id"] in deciders]


def _worth_saying(span: Span, side: Side) -> list[str]:
    """The parts of the boundary that somebody decides; what it can do by itself is no news."""
    energy = _decided(span, "max_wh", "min_wh")
    if span.boundary.set_point_w is not None:
        return ["set_point_w", *energy]
    parts = _decided(span, side.part("max_w"), side.part("min_w"))
    if span.boundary.min_w == span.boundary.max_w == 0:
        parts = parts[:1] or ["max_w"]
    elif _is_one_value(span):
        parts = parts[:1]
    return parts + energy


def _decided(span: Span, *parts: str) -> list[str]:
    return [part for part in parts if _emitter(span, part) not in (None, EmitterKind.DRIVER)]


def _is_one_value(span: Span) -> bool:
    """Whether one constraint leaves a single power, without calling it a set point."""
    least, greatest = span.deciders.get("min_w"), span.deciders.get("max_w")
    return least == greatest and span.boundary.min_w == span.boundary.max_w is not None


def _clause(
    spans: Sequence[Span],
    part: str,
    side: Side,
    now: datetime,
    zone: ZoneInfo,
    own: Collection[str],
) -> str:
    first = spans[0]
    said = _energy_said(first, part) if part in _ENERGY else _power_said(first, part, side)
    until = _until(spans, part)
    if until is not None:
        said = _("%(what)s until %(when)s") % {
            "what": said,
            "when": moment(until, now=now, zone=zone),
        }
    bent = _bent_by(first) if part == "set_point_w" else None
    cause = bent or part
    emitter = _emitter(first, cause)
    if emitter is None:
        return said
    is_own = first.deciders[cause] in own
    # Outside of the f-string: those who collect texts do not look into it.
    # A share of a dimming is the grid operator's.
    dims = EmitterKind.GRID_OPERATOR if _decider(first, cause).get("dims") else emitter
    because = _BECAUSE[dims]
    if is_own:
        is_share = emitter is EmitterKind.CLUSTER_LIMIT
        because = _("because of your limit for several") if is_share else _("because you set it")
    if bent is None:
        return f"{said}, {because}"
    wished = _("%(power)s were asked for") % {
        "power": kilowatts(_decider(first, part)["set_point_w"] * side.sign)
    }
    return f"{said}, {because}; {wished}"


def _power_said(span: Span, part: str, side: Side) -> str:
    boundary = span.boundary
    watts = getattr(boundary, part) * side.sign
    table = _LEAST if part == side.part("min_w") else _GREATEST
    is_off = boundary.min_w == boundary.max_w == 0
    if part == "set_point_w" or is_off or _is_one_value(span):
        table = _POINT
    phrase = table[side.family][0 if watts > 0 else 1 if watts == 0 else 2]
    return str(phrase) % {"power": kilowatts(abs(watts))}


def _energy_said(span: Span, part: str) -> str:
    return str(_ENERGY[part]) % {"energy": kilowatt_hours(getattr(span.boundary, part))}


def _bent_by(span: Span) -> str | None:
    """The part of the boundary that a set point has bent to; None for one that has not."""
    decider, point = _decider(span, "set_point_w"), span.boundary.set_point_w
    if decider is None or decider.get("set_point_w") in (None, point):
        return None
    parts = ("max_w", "min_w")
    # Beside what it can do when it runs lies only the pause: so the least power has bent it.
    return next((one for one in parts if getattr(span.boundary, one) == point), "min_w")


def _until(spans: Sequence[Span], part: str) -> datetime | None:
    """Until when a part stays as it is; None where that is not known."""
    value = getattr(spans[0].boundary, part)
    for span in spans[1:]:
        if getattr(span.boundary, part) != value:
            return span.from_at
    decider = _decider(spans[-1], part)
    if decider is not None and EmitterKind(decider["emitter"]) in RENEWED:
        return None
    end = decider and decider.get("invalid_at")
    return datetime.fromisoformat(end) if end else None


def _left_alone(boundary: Boundary, side: Side) -> str:
    if boundary.min_w is None and boundary.max_w is None:
        return _("Nobody has set a limit, and what it can do is not known.")
    return _("Nobody limits it: it may do what it can, %(what)s.") % {
        "what": allowed(boundary, side)
    }


def _decider(span: Span, part: str) -> Mapping[str, Any] | None:
    identity = span.deciders.get(part)
    return next((one for one in span.inputs if one["id"] == identity), None)


def _emitter(span: Span, part: str) -> EmitterKind | None:
    decider = _decider(span, part)
    return None if decider is None else EmitterKind(decider["emitter"])


def outlook(spans: Sequence[Span], side: Side, *, now: datetime, zone: ZoneInfo) -> str:
    """What the timeline shows from now on, in a sentence."""
    coming = [span for span in spans if span.until_at > now]
    steps = [foreseen(one, side, now=now) for one in coming]
    changes = [
        (one.from_at, after)
        for one, before, after in zip(coming[1:], steps, steps[1:], strict=False)
        if before != after
    ]
    if not changes:
        return _("As far as is known nothing changes: %(what)s.") % {"what": steps[0]}
    shown = [
        _("from %(when)s: %(what)s") % {"when": moment(at, now=now, zone=zone), "what": what}
        for at, what in changes[:3]
    ]
    more = len(changes) - len(shown)
    if more:
        shown.append(_("and %(n)d further changes") % {"n": more})
    return _("Now %(what)s; %(changes)s.") % {"what": steps[0], "changes": "; ".join(shown)}


def reason_of(one: Explained, span: Span, side: Side, *, zone: ZoneInfo) -> str:
    """Why a constraint has its outcome; of what produces, the greatest power is our least."""
    if side.sign > 0:
        return one.reason
    because = words.reasons(str(one.row.pk), one.outcomes, span, side=side, zone=zone)
    return f"{because} {one.share}".strip()


# Priorities --------------------------------------------------------------------------------------


def priority_words(kind: str, priority: int) -> str:
    """What a priority means: "3,000, the usual one"."""
    if kind == EmitterKind.DRIVER:
        return _("physical")
    if kind == EmitterKind.CLUSTER_LIMIT:
        return number(priority, 0)
    usual = default_priority(EmitterKind(kind))
    if priority == usual:
        meaning = _("the usual one")
    else:
        meaning = _("above the usual one") if priority > usual else _("below the usual one")
    return f"{number(priority, 0)}, {meaning}"


def priority_choices(kind: EmitterKind) -> list[tuple[int, str]]:
    """What somebody of this kind may choose, the usual one first, in words."""
    usual, most = default_priority(kind), ceiling(kind)
    others = sorted(
        (default_priority(one), one)
        for one in EmitterKind
        if one not in (kind, EmitterKind.DRIVER, EmitterKind.CLUSTER_LIMIT)
    )
    weaker = [one for one in others if one[0] < usual]
    choices = [(usual, _usual_words(weaker, [one for one in others if one[0] > most]))]
    if most > usual:
        choices.append((most, _("As strong as I may: it wins over the usual ones of my kind")))
    choices += [
        (weight - 1, _("Weaker: it gives way to %(who)s") % {"who": words.EMITTERS[one]})
        for weight, one in reversed(weaker)
        if weight > floor(kind)
    ]
    return [(value, f"{text} ({number(value, 0)})") for value, text in choices]


def _usual_words(weaker: Sequence[tuple], stronger: Sequence[tuple]) -> str:
    if weaker and stronger:
        return _("Usual: above %(below)s, below %(above)s") % {
            "below": words.EMITTERS[weaker[-1][1]],
            "above": words.EMITTERS[stronger[0][1]],
        }
    return _("Usual")
