"""What became of constraints, in sentences for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.allotment import Why
from flexibility.asking import RENEWED, USE, Side, asked, instant
from flexibility.models import Constraint
from flexibility.resolver import ContradictoryConstraint, EmitterKind, OutcomeKind

# As powers are: positive flows into the appliance.
_RAW = Side(USE)
EMITTERS = dict(Constraint._meta.get_field("emitter_kind").flatchoices)

# The resolver knows no languages.
_CONTRADICTIONS = {
    "is not a number": gettext_lazy("This is not a number."),
    "is above max_w": gettext_lazy("The least power is above the greatest."),
    "is above max_wh": gettext_lazy("The least energy is above the greatest."),
    "is outside of its own range": gettext_lazy("The set point is outside of its own range."),
    "is not after valid_at": gettext_lazy("It ends before it begins."),
}
_PARTS = {
    "min_w": gettext_lazy("the least power"),
    "max_w": gettext_lazy("the greatest power"),
    "set_point_w": gettext_lazy("the set point"),
    "no_pause": gettext_lazy("that there is no pause"),
    "min_wh": gettext_lazy("the least energy"),
    "max_wh": gettext_lazy("the greatest energy"),
}
_ENERGY = {"min_wh", "max_wh"}
_STAGES = {
    OutcomeKind.REDUNDANT: gettext_lazy("It is kept to, but others decide."),
    OutcomeKind.SCHEDULED: gettext_lazy("It has not begun yet."),
    OutcomeKind.EXPIRED: gettext_lazy("It is over."),
    OutcomeKind.WITHDRAWN: gettext_lazy("It was withdrawn."),
}
# Why a share of a limit is as it is.
_SHARES = {
    Why.UNLIMITED: gettext_lazy("The limit leaves this side of it free."),
    Why.FULL: gettext_lazy("The limit gives it all that it may have."),
    Why.STRATEGY: gettext_lazy("It has its part of the limit."),
    Why.MINIMUM: gettext_lazy("It has its minimum; the limit does not give more."),
    Why.SET_POINT: gettext_lazy("It keeps a set point that is stronger than the limit."),
    Why.PAUSED: gettext_lazy("It pauses: its minimum does not fit, or it is another's turn."),
    Why.RESTING: gettext_lazy("It pauses a little longer."),
    Why.RAMPING: gettext_lazy("It is on its way up to its part of the limit."),
    Why.IDLE: gettext_lazy("It asks for nothing: it has what others leave of the limit."),
    Why.STALE: gettext_lazy("There is no news of it: it counts with the most it could take."),
}


def contradiction(error: ContradictoryConstraint) -> str:
    """Why a constraint can never be kept to."""
    return str(_CONTRADICTIONS.get(error.reason, error.reason))


class Holding(Protocol):
    """What holds, from what, and who decides it (`queries.Span`, `models.Resolved`)."""

    @property
    def deciders(self) -> Mapping[str, str]: ...

    @property
    def inputs(self) -> Sequence[Mapping[str, Any]]: ...


def reasons(
    identity: str,
    outcomes: Mapping[str, Mapping[str, Any]],
    span: Holding,
    *,
    zone: ZoneInfo,
    side: Side = _RAW,
) -> str:
    """Why a constraint has its outcomes (by part, `power` and `energy`), in sentences.

    An outcome is `{"outcome", "conflicts_with"}`. `side` is from where the appliance is looked at.
    """
    told = {
        part: reason(identity, part, outcome, span, zone=zone, side=side)
        for part, outcome in outcomes.items()
    }
    if len(set(told.values())) < 2:
        return "".join(set(told.values()))
    return _("Power: %(power)s Energy: %(energy)s") % told


def reason(
    identity: str,
    part: str,
    outcome: Mapping[str, Any],
    span: Holding,
    *,
    zone: ZoneInfo,
    side: Side = _RAW,
) -> str:
    """The same of one part."""
    kind = OutcomeKind(outcome["outcome"])
    if kind in _STAGES and kind is not OutcomeKind.REDUNDANT:
        return str(_STAGES[kind])
    inputs = {one["id"]: one for one in span.inputs}
    own = inputs[identity]
    if kind is OutcomeKind.BINDING:
        if part == "power" and _switches_off(own, span.deciders, inputs):
            return _("It leaves the appliance less than that needs to run: it is off.")
        if part == "power" and _bends(own, span.deciders, inputs):
            return _("It decides the set point, as close as is allowed.")
        parts = [
            str(_PARTS[side.part(name)])
            for name, decider in span.deciders.items()
            if decider == identity and (name in _ENERGY) == (part == "energy")
        ]
        if part == "power" and _is_left_out(own, span.deciders, inputs):
            return _("It decides %(what)s, as close as is allowed.") % {"what": listed(parts)}
        return _("It decides %(what)s.") % {"what": listed(parts)}
    if kind is OutcomeKind.DISCARDED:
        against = [inputs[other] for other in outcome["conflicts_with"] if other in inputs]
        return _gives_way(own, against, span.inputs, zone, side)
    if kind is OutcomeKind.REDUNDANT and part == "power" and own.get("closest"):
        holding = inputs.get(span.deciders.get("set_point_w", ""), own)
        if holding.get("set_point_w") != own.get("set_point_w"):
            who = _named([holding], span.inputs, zone, side)
            return _("Another set point comes before it: that of %(who)s.") % {"who": who}
    return str(_STAGES[kind])


def not_begun() -> str:
    """Why a constraint that is scheduled has no say yet."""
    return str(_STAGES[OutcomeKind.SCHEDULED])


def _switches_off(
    own: Mapping[str, Any], deciders: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether it leaves of what may run or pause nothing but the pause."""
    least, _most = _decided(deciders, inputs)
    is_greatest = deciders.get("max_w") == own["id"]
    return is_greatest and _is_below(own["max_w"], least) and _can_pause(deciders, inputs)


def _is_left_out(
    own: Mapping[str, Any], deciders: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether others leave nothing of its range, so that it decides by what is nearest."""
    least, most = _decided(deciders, inputs)
    return own["emitter"] == EmitterKind.CLUSTER_LIMIT and (
        _is_below(own.get("max_w"), least) or _is_below(most, own.get("min_w"))
    )


def _bends(
    own: Mapping[str, Any], deciders: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether its set point is not within what others leave."""
    if deciders.get("set_point_w") != own["id"] or not own.get("closest"):
        return False
    point = own["set_point_w"]
    least, most = _decided(deciders, inputs)
    if point == 0 and _can_pause(deciders, inputs):
        return False
    return _is_below(point, least) or _is_below(most, point)


def _decided(
    deciders: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> tuple[float | None, float | None]:
    """The least and the greatest power, as those who decide them ask for it."""
    return (
        inputs.get(deciders.get("min_w", ""), {}).get("min_w"),
        inputs.get(deciders.get("max_w", ""), {}).get("max_w"),
    )


def _can_pause(deciders: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]) -> bool:
    is_pausable = any(one.get("pausable") for one in inputs.values())
    return is_pausable and "no_pause" not in deciders


def _is_below(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other


def _gives_way(
    own: Mapping[str, Any],
    against: Sequence[Mapping[str, Any]],
    inputs: Sequence[Mapping[str, Any]],
    zone: ZoneInfo,
    side: Side,
) -> str:
    """To one or two others: because they weigh more, or as much and are newer."""
    if [one["emitter"] for one in against] == [EmitterKind.DRIVER]:
        return _("It asks for what the appliance cannot do.")
    ranks = {_rank(one, own) for one in against}
    who = {"who": _named(against, inputs, zone, side)}
    if len(against) > 1:
        if ranks == {_Rank.HEAVIER}:
            return _("It gives way to %(who)s, which weigh more and together leave it no room.") % (
                who
            )
        return _("It gives way to %(who)s, which come before it and together leave it no room.") % (
            who
        )
    if ranks == {_Rank.HEAVIER}:
        return _("It gives way to %(who)s, which weighs more and leaves it no room.") % who
    if ranks == {_Rank.NEWER}:
        return _("It gives way to %(who)s: that weighs the same, but was set later.") % who
    return _("It gives way to %(who)s, which comes before it and leaves it no room.") % who


class _Rank(Enum):
    HEAVIER = auto()
    NEWER = auto()
    FIRST = auto()


def _rank(one: Mapping[str, Any], own: Mapping[str, Any]) -> _Rank:
    """Why one comes before another. Of two that were set at once, their ids decide."""
    if one["priority"] > own["priority"]:
        return _Rank.HEAVIER
    instants = one.get("created_at"), own.get("created_at")
    return _Rank.FIRST if None not in instants and instants[0] == instants[1] else _Rank.NEWER


def _named(
    some: Sequence[Mapping[str, Any]],
    inputs: Sequence[Mapping[str, Any]],
    zone: ZoneInfo,
    side: Side,
) -> str:
    """Who set them; where that tells them apart from no other, also what, and until when."""
    names = [_setter(one) for one in inputs]
    return listed(
        [_which(one, zone, side) if names.count(_setter(one)) > 1 else _setter(one) for one in some]
    )


def _setter(one: Mapping[str, Any]) -> str:
    """A share of a dimming is the grid operator's."""
    return str(EMITTERS[EmitterKind.GRID_OPERATOR if one.get("dims") else one["emitter"]])


def _which(one: Mapping[str, Any], zone: ZoneInfo, side: Side) -> str:
    what = {"who": _setter(one), "what": asked(one, side)}
    end = one.get("invalid_at")
    if end is None or one["emitter"] in RENEWED:
        return _("%(who)s (%(what)s)") % what
    when = instant(datetime.fromisoformat(end), zone=zone)
    return _("%(who)s (%(what)s, until %(when)s)") % {**what, "when": when}


def share_reason(said: Mapping[str, Any]) -> str:
    """Why a share of a limit is as it is, in a sentence; empty for what is none.

    `said` is what was kept of it (`why_max`, `why_min`); the most that it may take comes first.
    """
    why = said.get("why_max") or said.get("why_min")
    return str(_SHARES[Why(why)]) if why else ""


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return _("%(first)s and %(last)s") % {"first": ", ".join(words[:-1]), "last": words[-1]}
