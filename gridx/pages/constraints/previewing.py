"""What a constraint would do: a sentence, one appliance drawn, who cannot follow, who loses."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import User
from flexibility import bars, words
from flexibility.asking import Side, asked, kilowatts, moment, side_of, span_words
from flexibility.bulk.operations import Obstacle
from flexibility.effects import Effect, Loss, effect_of
from flexibility.limits.balancing import Moved, redivide
from flexibility.limits.sentences import broken_words
from flexibility.models import Constraint
from flexibility.queries import Preview, preview
from flexibility.resolver import Boundary
from flexibility.resolving import HORIZON
from flexibility.sentences import allowed
from flexibility.standing import as_pure
from gridx.pages.sources import shares_in, sources_of
from gridx.pages.timeline import timeline_context
from inventory.kinds import STORING
from inventory.models import Appliance
from inventory.queries import OutOfReach, out_of_reach
from measurements.formats import NBSP, number

# What begins later than is shown is shown from so long before.
LEAD = timedelta(hours=1)
# So many lines of what would change are shown.
MOST_LINES = 6
# So many shares that would move are told.
MOST_MOVES = 12
_GIVES_WAY = {
    "power": gettext_lazy("it gives way to %(who)s (%(what)s)"),
    "energy": gettext_lazy("its energy gives way to %(who)s (%(what)s)"),
}
_UNTOLD = {
    OutOfReach.NO_GATEWAY: (
        gettext_lazy("no gateway"),
        gettext_lazy("no gateway is connected to it"),
    ),
    OutOfReach.REVOKED: (gettext_lazy("gateway revoked"), gettext_lazy("its gateway was revoked")),
    OutOfReach.UNNAMED: (
        gettext_lazy("not at its gateway"),
        gettext_lazy("it has no name by which its gateway knows it"),
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """When, and what then."""

    when: str
    what: str


@dataclass(frozen=True, slots=True)
class MemberEffect:
    """What would become of one appliance, in words.

    `state`: follows, partly, bent or not; untold where nobody can tell it anything.
    """

    appliance: Appliance
    state: str
    label: str
    reasons: tuple[Line, ...]
    losses: tuple[Line, ...]
    switches_off: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What the preview shows: a sentence, one appliance drawn, and all that matters of others.

    `starts`: from when on that is, where not from now. `broken`: the shared limits that could not
    be kept any more.
    """

    summary: str
    starts: str
    tone: str
    shown: Appliance | None
    timeline: Any
    changes: tuple[Line, ...]
    members: tuple[MemberEffect, ...]
    troubled: tuple[MemberEffect, ...]
    losers: tuple[MemberEffect, ...]
    moves: tuple[str, ...]
    broken: tuple[str, ...]


def try_out(
    members: Sequence[Appliance],
    rows: Sequence[Constraint],
    *,
    wanted: str,
    user: User,
    now: datetime,
    zone: ZoneInfo,
    without: Collection[UUID] = (),
    obstacles: Sequence[Obstacle] = (),
) -> Tried | None:
    """What constraints would do; without any, how things are. None where there is nobody.

    `rows` stand for each of the members, and these (ids) do not any more; `wanted` (an id) is the
    one to be drawn, `user` who looks at it. Looked at are the next two days, or those in which the
    first of them begins. `obstacles` keep it from being set for some of them.
    """
    if not members:
        return None
    start = _start(rows, now)
    drafts = [row for row in rows if row.valid_at < start + HORIZON and row.invalid_at > start]
    new = {str(one.pk) for one in drafts}
    effects: list[MemberEffect] = []
    untold = out_of_reach(members)
    found, matters = None, _Matter.NOTHING
    for one in preview(appliances=members, drafts=drafts, now=start, without=without):
        effect = effect_of(one.before, one.after, new=new)
        kept_from = [each.reason for each in obstacles if each.appliance.pk == one.appliance.pk]
        if kept_from:
            effects.append(_kept_from(one.appliance, kept_from))
        elif why := untold.get(one.appliance.pk):
            effects.append(_untold(one.appliance, why))
        else:
            effects.append(_storing(drafts, _member_effect(one.appliance, effect, now, zone)))
        this = _Matter.WANTED if str(one.appliance.pk) == wanted else _matter(effects[-1], drafts)
        if found is None or this > matters:
            found, matters = one, this
    shown = found.appliance
    troubled = tuple(one for one in effects if one.state != "follows") if drafts else ()
    losers = tuple(one for one in effects if one.losses)
    limits = redivide(appliances=members, drafts=drafts, without=without, now=now)
    return Tried(
        summary=_summary(effects) if drafts else "",
        tone="warning" if troubled or limits.broken else "success",
        shown=shown,
        timeline=timeline_context(
            shown,
            found.after,
            now=now,
            zone=zone,
            before=found.before if drafts else (),
            new=new,
            sources=sources_of(shares_in([*found.before, *found.after]), user),
            # Beside the form there is no room for a wide one.
            shapes=(bars.MIDDLE, bars.NARROW),
        ),
        starts=moment(start, now=now, zone=zone) if start > now else "",
        changes=tuple(_changes(found, new, shown, now, zone)),
        members=tuple(effects),
        troubled=troubled,
        losers=losers,
        moves=tuple(dict.fromkeys(_moves(limits.moved, members, now, zone))),
        broken=tuple(broken_words(one, now=now, zone=zone) for one in limits.broken),
    )


def _moves(
    moved: Sequence[Moved], members: Sequence[Appliance], now: datetime, zone: ZoneInfo
) -> Iterable[str]:
    """Whose share of a shared limit would be another one, and from when on."""
    found = Appliance.objects.select_related("system").in_bulk(
        [one.appliance for one in moved[:MOST_MOVES]]
    )
    is_one_system = len({one.system_id for one in members}) == 1
    names = {
        pk: one.name if is_one_system else f"{one.name}, {one.system.name}"
        for pk, one in found.items()
    }
    for one in moved[:MOST_MOVES]:
        told = _("%(name)s: at most %(after)s in place of %(before)s (“%(limit)s”)") % {
            "name": names[one.appliance],
            "after": _share(one.after_w),
            "before": _share(one.before_w),
            "limit": one.limit.target,
        }
        if one.valid_at > now:
            when = moment(one.valid_at, now=now, zone=zone)
            told = _("From %(when)s: %(what)s.") % {"when": when, "what": told}
        yield told
    if len(moved) > MOST_MOVES:
        yield _("and %(n)d further changes") % {"n": len(moved) - MOST_MOVES}


def _share(max_w: float | None) -> str:
    return _("no limit") if max_w is None else kilowatts(round(max_w, -1))


def _start(rows: Sequence[Constraint], now: datetime) -> datetime:
    """The beginning of what is looked at: now, or an hour before the first one begins."""
    first = min((row.valid_at for row in rows), default=now)
    return now if first < now + HORIZON else first - LEAD


class _Matter(IntEnum):
    """How much it matters to draw an appliance: the one that is asked for comes first."""

    NOTHING = 0
    LOSES = 1
    TROUBLED = 2
    WANTED = 3


def _matter(one: MemberEffect, drafts: Collection[Constraint]) -> _Matter:
    if drafts and one.state != "follows":
        return _Matter.TROUBLED
    return _Matter.LOSES if one.losses else _Matter.NOTHING


def _kept_from(one: Appliance, reasons: Sequence[str]) -> MemberEffect:
    lines = tuple(Line("", reason) for reason in reasons)
    return MemberEffect(one, "not", _("cannot"), lines, losses=(), switches_off=False)


def _untold(one: Appliance, why: OutOfReach) -> MemberEffect:
    label, reason = _UNTOLD[why]
    reasons = (Line("", str(reason)),)
    return MemberEffect(one, "untold", str(label), reasons, losses=(), switches_off=False)


def _storing(drafts: Collection[Constraint], effect: MemberEffect) -> MemberEffect:
    """The same, but for what stores nothing and is asked for energy: it cannot keep to that."""
    one = effect.appliance
    if one.kind in STORING or one.capacity_wh is not None:
        return effect
    pure = [as_pure(row) for row in drafts]
    if not any(each.speaks_of_energy for each in pure):
        return effect
    is_all = not any(each.speaks_of_power for each in pure) or effect.state == "not"
    return replace(
        effect,
        state="not" if is_all else "partly",
        label=_("cannot") if is_all else _("partly"),
        reasons=(Line("", _("it stores no energy")), *effect.reasons),
    )


def _member_effect(one: Appliance, effect: Effect, now: datetime, zone: ZoneInfo) -> MemberEffect:
    side = side_of(one.kind)
    if effect.bent_w is not None:
        state, label = "bent", _("gets %(power)s") % {"power": kilowatts(side.sign * effect.bent_w)}
    elif not effect.refusals:
        state, label = "follows", _("follows")
    elif effect.holds:
        state, label = "partly", _("partly")
    else:
        state, label = "not", _("cannot")
    return MemberEffect(
        appliance=one,
        state=state,
        label=label,
        reasons=tuple(
            Line(
                _when(refusal, now, zone),
                _GIVES_WAY[refusal.part]
                % {
                    "who": words.listed(
                        [str(words.EMITTERS[each["emitter"]]) for each in refusal.against]
                    ),
                    "what": words.listed([asked(each, side) for each in refusal.against]),
                },
            )
            for refusal in effect.refusals[:MOST_LINES]
        ),
        losses=tuple(_loss(loss, side, now, zone) for loss in effect.losses[:MOST_LINES]),
        switches_off=any(
            _is_off(change.after) and not _is_off(change.before) for change in effect.changes
        ),
    )


def _is_off(boundary: Boundary) -> bool:
    return boundary.set_point_w == 0 or boundary.min_w == boundary.max_w == 0


def _loss(loss: Loss, side: Side, now: datetime, zone: ZoneInfo) -> Line:
    who = str(words.EMITTERS[loss.loser["emitter"]])
    who = who[:1].upper() + who[1:]
    what = asked(loss.loser, side)
    when = _when(loss, now, zone)
    if loss.before_w is None or loss.after_w is None:
        return Line(when, _("%(who)s loses “%(what)s”.") % {"who": who, "what": what})
    told = _("%(who)s gets %(after)s in place of %(before)s") % {
        "who": who,
        "after": kilowatts(side.sign * loss.after_w),
        "before": kilowatts(side.sign * loss.before_w),
    }
    energy_kwh = number((loss.energy_wh or 0) / 1000, 1)
    energy = _("%(energy)s less") % {"energy": f"{energy_kwh}{NBSP}kWh"}
    return Line(when, f"{told}: {energy}.")


def _changes(found: Preview, new: set[str], shown: Appliance, now: datetime, zone: ZoneInfo):
    side = side_of(shown.kind)
    effect = effect_of(found.before, found.after, new=new)
    for change in effect.changes[:MOST_LINES]:
        before, after = allowed(change.before, side), allowed(change.after, side)
        if before != after:
            told = _("%(after)s in place of %(before)s") % {"after": after, "before": before}
            yield Line(_when(change, now, zone), told)


def _when(stretch: Any, now: datetime, zone: ZoneInfo) -> str:
    return span_words(stretch.from_at, stretch.until_at, now=now, zone=zone)


def _summary(effects: Sequence[MemberEffect]) -> str:
    follow = sum(one.state == "follows" for one in effects)
    bent = sum(one.state == "bent" for one in effects)
    off = sum(one.switches_off for one in effects)
    if len(effects) == 1:
        [only] = effects
        told = {
            "follows": _("It will be kept to."),
            "bent": _("It will be kept to as closely as is allowed."),
            "partly": _("It can be kept to in part only."),
            "not": _("It cannot be kept to."),
            "untold": _("Nobody can tell it: %(why)s."),
        }[only.state]
        if only.state == "untold":
            told %= {"why": only.reasons[0].what}
        switches = _("It switches off for that.")
        return f"{told} {switches}" if off else told
    told = ngettext(
        "%(follow)d of %(all)d appliance can follow.",
        "%(follow)d of %(all)d appliances can follow.",
        len(effects),
    ) % {"follow": follow, "all": len(effects)}
    if bent:
        near = ngettext(
            "%(n)d follows as closely as is allowed.",
            "%(n)d follow as closely as is allowed.",
            bent,
        )
        told = f"{told} {near % {'n': bent}}"
    if not off:
        return told
    switches = ngettext("%(n)d switches off for that.", "%(n)d switch off for that.", off)
    return f"{told} {switches % {'n': off}}"
