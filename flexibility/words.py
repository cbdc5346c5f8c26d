"""What became of constraints, in sentences for people."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.allotment import Why
from flexibility.models import Constraint
from flexibility.resolver import ContradictoryConstraint, OutcomeKind

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


class Called(NamedTuple):
    """What a constraint is called, and what it weighs."""

    name: str
    priority: int


def called(emitter_kind: str, priority: int) -> Called:
    """A constraint called by who set it."""
    return Called(str(EMITTERS[emitter_kind]), priority)


def reason(
    identity: str,
    outcome: Mapping[str, Any],
    deciders: Mapping[str, str],
    all_called: Mapping[str, Called],
) -> str:
    """Why a constraint has this outcome, in a sentence.

    `outcome` is `{"outcome", "conflicts_with"}`, `deciders` are the ids by the part that they
    decide, `all_called` are the constraints by their id, this one among them.
    """
    kind = OutcomeKind(outcome["outcome"])
    if kind is OutcomeKind.BINDING:
        parts = [str(_PARTS[part]) for part, decider in deciders.items() if decider == identity]
        return _("It decides %(what)s.") % {"what": listed(parts)}
    if kind is OutcomeKind.DISCARDED:
        against = [all_called[other] for other in outcome["conflicts_with"]]
        who = {"who": listed(list(dict.fromkeys(one.name for one in against)))}
        if all(one.priority == all_called[identity].priority for one in against):
            return _("It gives way to %(who)s: that weighs the same, but was set later.") % who
        return _("It gives way to %(who)s, which weighs more and leaves it no room.") % who
    return str(_STAGES[kind])


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
