"""A cluster's shared limits, in words: what they are, who has how much of them, and why."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from flexibility import words
from flexibility.allotment import Side, Strategy, Why
from flexibility.api import may_be_named
from flexibility.emitters import Emitter
from flexibility.limits.balancing import try_limit
from flexibility.limits.operations import fuse_emitter_of, may_restore_limit
from flexibility.models import Constraint, SharedLimit, not_over
from flexibility.queries import Now
from flexibility.resolver import EmitterKind
from flexibility.sentences import kilowatts, moment
from gridx.pages.acting import emitters_or_none
from gridx.pages.lines import Tag, group_url, when_of, who_set
from gridx.pages.timeline import priority_line
from inventory.models import Appliance, Cluster, System
from measurements.formats import power

_STRATEGIES: dict[str, Promise] = {
    Strategy.EQUALLY: gettext_lazy("divided equally"),
    Strategy.PROPORTIONAL: gettext_lazy("divided by the greatest power of each"),
    Strategy.FIRST_COME_FIRST_SERVE: gettext_lazy("first come, first served"),
    Strategy.SERIES: gettext_lazy("one after the other"),
}
_WHYS: dict[str, Promise] = {
    Why.UNLIMITED: gettext_lazy("not limited"),
    Why.FULL: gettext_lazy("has all that it may"),
    Why.STRATEGY: gettext_lazy("has its part"),
    Why.MINIMUM: gettext_lazy("has its minimum, there is not more"),
    Why.SET_POINT: gettext_lazy("keeps a stronger set point"),
    Why.PAUSED: gettext_lazy("pauses: it is another's turn"),
    Why.RESTING: gettext_lazy("pauses a little longer"),
    Why.RAMPING: gettext_lazy("on its way up"),
    Why.IDLE: gettext_lazy("asks for nothing: may have what others leave"),
    Why.STALE: gettext_lazy("no news: counted with the most it could take"),
}
_NOTHING_LEFT = gettext_lazy("asks for nothing: others leave too little for it")
# Why shares are less than what their members are counted with.
_RESERVED: dict[str, Promise] = {
    Why.RAMPING: gettext_lazy("for those on their way up, as soon as others have come down"),
    Why.STALE: gettext_lazy("for the most that those without news could take"),
}
_HELD_BACK = {Why.STRATEGY, Why.MINIMUM, Why.RAMPING}
_PAUSED = {Why.PAUSED, Why.RESTING}
# What one member has of a limit: the least and the greatest power (W), and what decides the latter.
_Has = tuple[float | None, float | None, str]


@dataclass(frozen=True, slots=True)
class ShareLine:
    """What one member has of a limit."""

    appliance: Appliance
    most: str
    now: str
    why: Tag


@dataclass(frozen=True, slots=True)
class Part:
    """What a cluster within has of a limit, all of its members together."""

    name: str
    url: str
    most: str


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit in words, and what the reader may do with it (empty where nothing).

    `where`: the cluster around or within that it is set on, if not on this one.
    """

    id: UUID
    emitter: str
    tag: Tag
    title: str
    who: str
    how: str
    priority: str
    when: str
    where: str
    where_url: str
    says: tuple[str, ...]
    shares: tuple[ShareLine, ...]
    parts: tuple[Part, ...]
    edit_url: str
    withdraw_url: str


def limit_lines(
    cluster: Cluster,
    members: Sequence[Now],
    *,
    user: User,
    emitters: Sequence[Emitter],
    now: datetime,
) -> list[LimitLine]:
    """The limits that bound what is in a cluster, or in those within it, the strongest first.

    `members` are its appliances, `emitters` what the user may limit it as. By a fixed number of
    queries.
    """
    clusters = {one.pk: one for one in Cluster.objects.filter(system=cluster.system_id)}
    around, step = [], cluster.pk
    while step is not None:
        around.append(step)
        step = clusters[step].parent_id
    within = [cluster.pk]
    for step in within:
        within += [one.pk for one in clusters.values() if one.parent_id == step]
    of_them = Q(cluster__in={*around, *within}) | Q(cluster=None, system=cluster.system_id)
    limits = list(
        SharedLimit.objects.filter(of_them, not_over(now), withdrawn_at=None)
        .select_related("system", "cluster", "emitter")
        .order_by("-priority", "created_at", "pk")
    )
    if not limits:
        return []
    shares: dict[Any, list[Constraint]] = defaultdict(list)
    rows = Constraint.objects.filter(
        limit__in=limits, fallback=False, withdrawn_at=None, invalid_at__gt=now
    ).select_related("appliance", "share")
    for row in rows.order_by("appliance__key"):
        shares[row.limit_id].append(row)
    people = may_be_named(user, limits)
    powers = {one.appliance.pk: one.power_w for one in members}
    zone = cluster.system.zone
    return [
        LimitLine(
            id=one.pk,
            emitter=one.emitter_kind,
            tag=_tag(one, now),
            title=limit_title(one),
            who=who_set(one, user, people),
            how=str(_STRATEGIES[one.strategy]),
            priority=priority_line(one.emitter_kind, one.priority),
            when=_when(one, now, zone),
            where="" if one.cluster_id == cluster.pk else str(one.target),
            where_url=(
                group_url(one.cluster) if one.cluster and one.cluster_id != cluster.pk else ""
            ),
            says=tuple(_says(one, shares[one.pk])) if one.valid_at <= now else (),
            shares=tuple(
                _share_line(row.appliance, row.max_w, row.share.why_max, powers[row.appliance_id])
                for row in shares[one.pk]
                if row.appliance_id in powers
            ),
            parts=(
                ()
                if one.cluster_id in within[1:]
                else tuple(_parts(cluster, clusters, shares[one.pk]))
            ),
            edit_url=(
                reverse("limit_edit", args=[one.pk])
                if any(may_change_limit(one, each) for each in emitters)
                else ""
            ),
            withdraw_url=(
                reverse("limit_withdraw", args=[one.pk])
                if any(may_withdraw_limit(one, each) for each in emitters)
                else ""
            ),
        )
        for one in limits
    ]


@dataclass(frozen=True, slots=True)
class Tried:
    """What a limit that is not set yet would come to."""

    tone: str
    title: str
    says: tuple[str, ...]
    shares: tuple[ShareLine, ...]


def tried_limit(limit: SharedLimit, members: Sequence[Appliance], *, now: datetime) -> Tried:
    """Who would have what of it at once, by the readings of now."""
    division, names = try_limit(limit, now=now), {str(one.pk): one.name for one in members}
    tallies = division.tallies.get(str(limit.pk), ())
    shares = [(one, division.shares.get((str(limit.pk), str(one.pk)))) for one in members]
    told = [(*kept.span, kept.why_max) for _one, kept in shares if kept]
    return Tried(
        tone="success" if all(one.over_w == 0 for one in tallies) else "warning",
        title=limit_title(limit),
        says=tuple(said for one in tallies for said in _tally(asdict(one), names, told)),
        shares=tuple(
            _share_line(one, kept.span.max_w, kept.why_max) for one, kept in shares if kept
        ),
    )


def limit_emitters(user: User, system: System) -> list[Emitter]:
    """All as what the user may set shared limits here: as of constraints, and for the wiring."""
    found = emitters_or_none(user, system)
    try:
        return [*found, fuse_emitter_of(user)]
    except PermissionDenied:
        return found


def may_change_limit(limit: SharedLimit, emitter: Emitter) -> bool:
    """Whether somebody may change it by hand: their own kind; what came with a dimming goes so."""
    return limit.dimming_id is None and limit.emitter_kind == emitter.kind


def may_withdraw_limit(limit: SharedLimit, emitter: Emitter) -> bool:
    """Whether somebody may end it by hand."""
    is_staff = limit.dimming_id is None and emitter.kind is EmitterKind.OPERATOR
    return is_staff or may_change_limit(limit, emitter)


def limit_undo_of(withdrawn: UUID | None, *, user: User, now: datetime) -> dict[str, Any] | None:
    """A limit that was withdrawn just now, where the user may set it again."""
    visible = SharedLimit.objects.visible_to(user).select_related("system", "cluster")
    row = visible.filter(pk=withdrawn).first() if withdrawn else None
    if row is None or not may_restore_limit(row, now=now):
        return None
    emitters = limit_emitters(user, row.system)
    if not any(may_withdraw_limit(row, one) for one in emitters):
        return None
    return {"what": limit_title(row), "url": reverse("limit_restore", args=[row.pk])}


def limit_title(limit: SharedLimit) -> str:
    """ "Together at most 30 kW, and at most 10 kW on each phase" """
    said = []
    if limit.max_w is not None:
        said.append(_("at most %(power)s") % {"power": kilowatts(limit.max_w)})
    if limit.min_w is not None:
        said.append(_("fed in at most %(power)s") % {"power": kilowatts(-limit.min_w)})
    if limit.phase_max_w is not None:
        phases = " / ".join(kilowatts(watts) for watts in limit.phase_max_w)
        said.append(_("at most %(phases)s on the phases") % {"phases": phases})
    whose = {"what": words.listed(said)}
    if limit.fuse:
        return _("The wiring bears %(what)s") % whose
    if limit.dynamic:
        return _("At the grid connection %(what)s") % whose
    if limit.net:
        return _("Together %(what)s from the grid") % whose
    return _("Together %(what)s") % whose


def _when(limit: SharedLimit, now: datetime, zone: ZoneInfo) -> str:
    if limit.invalid_at is not None:
        return when_of(limit, now=now, zone=zone)
    if limit.valid_at > now:
        return _("from %(day)s") % {"day": moment(limit.valid_at, now=now, zone=zone)}
    return _("without an end")


def _tag(limit: SharedLimit, now: datetime) -> Tag:
    if limit.valid_at > now:
        return Tag("", _("begins later"))
    if limit.balanced_at is None:
        return Tag("", _("not divided yet"))
    if not limit.is_reachable:
        return Tag("bad", _("cannot be kept"))
    if any(tally["blind"] for tally in limit.tallies):
        return Tag("bad", _("meter not known"))
    is_used = any(
        tally["allotted_w"] and tally["allotted_w"] >= tally["limit_w"] for tally in limit.tallies
    )
    return Tag("warn", _("used up")) if is_used else Tag("ok", _("kept"))


def _says(limit: SharedLimit, shares: Sequence[Constraint]) -> Iterable[str]:
    """How far it is given out, who is held back, and by whom it is exceeded."""
    names = {str(row.appliance_id): row.appliance.name for row in shares}
    told = [(row.min_w, row.max_w, row.share.why_max) for row in shares]
    for tally in limit.tallies:
        yield from _tally(tally, names, told)
    held = [row.appliance.name for row in shares if row.share.why_max in _HELD_BACK]
    paused = [row.appliance.name for row in shares if row.share.why_max in _PAUSED]
    if held:
        yield _("Held back: %(names)s.") % {"names": words.listed(held)}
    if paused:
        yield _("Pausing: %(names)s.") % {"names": words.listed(paused)}


def _tally(
    tally: Mapping[str, Any], names: Mapping[str, str], told: Sequence[_Has]
) -> Iterable[str]:
    values = {"limit": kilowatts(abs(tally["limit_w"])), "phase": tally["phase"]}
    if tally["blind"]:
        yield _blind(tally["phase"])
        return
    if tally["allotted_w"] is not None:
        values["given"] = kilowatts(round(abs(tally["allotted_w"]), -1))
        if tally["phase"]:
            yield _("On phase %(phase)s %(given)s of %(limit)s are given out.") % values
        elif tally["side"] == Side.MIN:
            yield _("To feed in, %(given)s of %(limit)s are given out.") % values
        else:
            yield _("%(given)s of %(limit)s are given out.") % values
    if tally["over_w"] == 0:
        yield from _reserved(tally, told)
        yield from _left(tally, told)
        return
    by = [
        _("%(name)s with %(power)s") % {"name": names[key], "power": kilowatts(round(watts, -1))}
        if watts is not None
        else names[key]
        for key, watts in tally["by"]
        if key in names
    ]
    if tally["over_w"] is None:
        yield _("It may be exceeded: of %(names)s nobody knows the power.") % {
            "names": words.listed(by) or _("a member")
        }
        return
    values["over"] = kilowatts(round(tally["over_w"], -1))
    if by:
        values["names"] = words.listed(by)
        yield _("It is exceeded by %(over)s, because of %(names)s.") % values
    else:
        yield _("It is exceeded by %(over)s by what is used beside the members.") % values


def _reserved(tally: Mapping[str, Any], told: Sequence[_Has]) -> Iterable[str]:
    """What is given out, but stands in no share yet, and for whom."""
    shares = [min_w if tally["side"] == Side.MIN else max_w for min_w, max_w, _why in told]
    if tally["phase"] or None in shares:
        return
    reserved_w = round(abs(tally["allotted_w"]) - abs(sum(shares)), -1)
    whys = {why for *_powers, why in told}
    whom = [str(said) for why, said in _RESERVED.items() if why in whys]
    if reserved_w > 0 and whom:
        values = {"power": kilowatts(reserved_w), "whom": words.listed(whom)}
        yield _("Of that, %(power)s are kept in reserve: %(whom)s.") % values


def _left(tally: Mapping[str, Any], told: Sequence[_Has]) -> Iterable[str]:
    """Why not all of a limit is given out, where that is because of what its members ask for."""
    is_left = round(tally["limit_w"] - tally["allotted_w"], -1) > 0
    if tally["phase"] or tally["side"] == Side.MIN or not is_left:
        return
    whys = {why for *_powers, why in told}
    if Why.RAMPING in whys:
        yield _("More follows: shares are on their way up.")
    elif whys == {Why.IDLE}:
        yield _("Nobody asks for more.")
    elif whys and whys <= {Why.FULL, Why.SET_POINT, Why.IDLE}:
        yield _("Whoever asks for power has all that it may.")


def _blind(phase: int | None) -> str:
    if phase is None:
        return _(
            "The meter at the grid connection sends no news: nobody knows what is left, so nothing"
            " is given out."
        )
    return _(
        "Of phase %(phase)s the meter at the grid connection measures nothing: nobody knows what is"
        " left, so nothing is given out."
    ) % {"phase": phase}


def _share_line(
    appliance: Appliance, max_w: float | None, why: str, power_w: float | None = None
) -> ShareLine:
    tone = "bad" if why == Why.STALE else "warn" if why in _HELD_BACK | _PAUSED else ""
    is_left_none = why == Why.IDLE and max_w == 0
    return ShareLine(
        appliance=appliance,
        most=_("no limit") if max_w is None else kilowatts(round(max_w, -1)),
        now="–" if power_w is None else str(power(power_w)),
        why=Tag(tone, str(_NOTHING_LEFT if is_left_none else _WHYS.get(why, ""))),
    )


def _parts(
    cluster: Cluster, clusters: Mapping[Any, Cluster], shares: Iterable[Constraint]
) -> Iterable[Part]:
    """What each cluster directly within this one has."""
    sums: dict[Any, float] = {}
    for row in shares:
        step = row.appliance.cluster_id
        while step is not None and clusters[step].parent_id != cluster.pk:
            step = clusters[step].parent_id
        if step is not None and row.max_w is not None:
            sums[step] = sums.get(step, 0.0) + row.max_w
    for pk, watts in sorted(sums.items(), key=lambda each: clusters[each[0]].name):
        yield Part(clusters[pk].name, group_url(clusters[pk]), kilowatts(round(watts, -1)))
