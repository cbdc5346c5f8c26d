"""What a system's shared limits leave to each of its appliances, from what is known of them. Pure.

Limits that are alike in priority, kinds and members are divided together (`allotment`), the
strongest first; what one division gives is a constraint at the next. A member's minimum counts
where it is stronger than the limit, its maximum whoever says so, be it a weaker limit: what it may
not have anyway, others may.

What a gateway was told is not yet what it does. A share falls at once, but while anybody's fall is
not confirmed, nobody's share rises: whichever of the schedules that may be in force is in force,
their sum is no more than the limit. Who is not confirmed for too long, refuses, or is not heard,
counts with its worst case: the widest share that may hold, else what it can do physically.

Powers in W, positive into the appliance; None is no statement.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flexibility.allotment import (
    Allotment,
    Limit,
    Measured,
    Member,
    Node,
    Pace,
    Tally,
    Why,
    allot,
    fits,
    headroom,
)
from flexibility.allotment import Share as Allotted
from flexibility.limits.members import Known, held_by, known_of
from flexibility.limits.terms import OPEN, Division, Kept, Rule, Span, Taker, or_inf
from flexibility.resolver import Constraint, EmitterKind
from inventory.kinds import CONTROLLABLE

PACE = Pace(rise_w_per_s=100.0, dwell=timedelta(minutes=15), rest=timedelta(minutes=1))
# A rise of less is not worth a message.
TOLERANCE_W = 1.0
# Limits that are divided together, and by cluster those that bound what is in it.
_Group = tuple[list[Rule], Mapping[str | None, tuple[Rule, ...]]]
# What a dynamic limit leaves is taken in whole steps, so that not every kettle changes all shares.
STEP_W = 100.0


def divide_limits(
    rules: Iterable[Rule],
    takers: Sequence[Taker],
    *,
    parents: Mapping[str, str | None],
    meter: Measured | None,
    now: datetime,
    at: datetime | None = None,
) -> Division:
    """Divide the limits of a system; `parents` leads from each of its clusters to the one above.

    `meter` is what its grid connection measures now, None where that is not known. `at`, where it
    is given, is the later instant that is divided for: with the constraints of then, as turns and
    ramps have gone on by then, and all else as it is now.
    """
    at = at or now
    groups = [(group, _chains(group, parents)) for group in _groups(rules)]
    weaker = _hints(groups, takers, meter, now, at)
    found = Division()
    targets: list[tuple[Known, Allotted]] = []
    stronger: dict[str, tuple[Constraint, ...]] = defaultdict(tuple)
    for number, (group, chains) in enumerate(groups):
        known = [
            known_of(
                one,
                chains[one.cluster],
                stronger[one.key],
                tuple(each for rank, each in weaker[one.key] if rank > number),
                now=now,
                at=at,
            )
            for one in _concerned(group, chains, takers)
        ]
        allotment = _allotment(group, chains, known, meter, at)
        for one in known:
            target = allotment.shares[one.taker.key]
            targets.append((one, target))
            span = _told(one, target, OPEN, now, at, may_rise=True).span
            stronger[one.taker.key] += (_as_constraint(one.chain[0], span),)
        rules_by_key = {rule.key: rule for rule in group}
        found.tallies.update(
            (key, tuple(_seen(tally, rules_by_key[key], meter) for tally in node.tallies))
            for key, node in allotment.nodes.items()
        )
    # All groups wait for each other: who rises in one may be let down by one that falls in another.
    may_rise = not any(_falls(one, target) for one, target in targets)
    told: dict[str, Span] = {}
    for one, target in targets:
        within = told.get(one.taker.key, OPEN)
        kept = _told(one, target, within, now, at, may_rise=may_rise)
        told[one.taker.key] = within.narrowed(kept.span)
        found.shares.update({(rule.key, one.taker.key): kept for rule in one.chain})
    return found


def _hints(
    groups: Sequence[_Group],
    takers: Sequence[Taker],
    meter: Measured | None,
    now: datetime,
    at: datetime,
) -> dict[str, list[tuple[int, Constraint]]]:
    """By taker what each group but the strongest would leave it by itself, with the group's number.

    What it may not have by a weaker limit, others may have of a stronger one.
    """
    found: dict[str, list[tuple[int, Constraint]]] = defaultdict(list)
    for number, (group, chains) in enumerate(groups[1:], start=1):
        known = [
            known_of(one, chains[one.cluster], (), (), now=now, at=at)
            for one in _concerned(group, chains, takers)
        ]
        allotment = _allotment(group, chains, known, meter, at)
        for one in known:
            share = _as_constraint(one.chain[0], _span(allotment.shares[one.taker.key]))
            found[one.taker.key].append((number, share))
    return found


def _allotment(
    group: Sequence[Rule],
    chains: Mapping[str | None, tuple[Rule, ...]],
    known: Sequence[Known],
    meter: Measured | None,
    at: datetime,
) -> Allotment:
    nodes = _nodes(chains, known, meter)
    return _unbound(group, nodes, known, at) or allot(
        nodes=nodes, members=[one.member for one in known], pace=PACE, now=at
    )


def _unbound(
    rules: Sequence[Rule], nodes: Sequence[Node], known: Sequence[Known], now: datetime
) -> Allotment | None:
    """Whole shares where limits bind nobody, though all did what they can; else None.

    What else is asked of a member leaves no trace in such a share, so that it ends by itself even
    where nobody is there to divide anew. What a meter leaves may be less at any time.
    """
    if any(rule.dynamic or rule.net for rule in rules):
        return None
    members = [one.unbound() for one in known]
    if not fits(nodes=nodes, members=members):
        return None
    return allot(nodes=nodes, members=members, now=now)


# Limits ------------------------------------------------------------------------------------------


def _groups(rules: Iterable[Rule]) -> list[list[Rule]]:
    """Limits that are divided together, the strongest first: alike, but for where they are."""
    found: dict[tuple, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: rule.key):
        key = -rule.priority, tuple(sorted(rule.kinds)), tuple(sorted(rule.members))
        found.setdefault(key, []).append(rule)
    return [found[key] for key in sorted(found)]


def _concerned(
    group: Sequence[Rule],
    chains: Mapping[str | None, tuple[Rule, ...]],
    takers: Iterable[Taker],
) -> list[Taker]:
    """Whom limits that are alike are for."""
    [rule, *_alike] = group
    return [
        one
        for one in takers
        if chains.get(one.cluster)
        and (not rule.members or one.key in rule.members)
        and one.kind in (rule.kinds or CONTROLLABLE)
    ]


def _chains(
    group: Sequence[Rule], parents: Mapping[str, str | None]
) -> dict[str | None, tuple[Rule, ...]]:
    """By cluster the limits that bound what is in it, the innermost first.

    Those of the whole system bound what is in none, too, and come last.
    """
    own: dict[str | None, tuple[Rule, ...]] = defaultdict(tuple)
    for rule in group:
        own[rule.cluster] += (rule,)
    found: dict[str | None, tuple[Rule, ...]] = {None: own[None]}

    def chain(cluster: str | None) -> tuple[Rule, ...]:
        if cluster not in found:
            found[cluster] = own[cluster] + chain(parents[cluster])
        return found[cluster]

    for cluster in parents:
        chain(cluster)
    return found


def _nodes(
    chains: Mapping[str, tuple[Rule, ...]], known: Sequence[Known], meter: Measured | None
) -> list[Node]:
    parents = {
        rule.key: (rule, above)
        for chain in chains.values()
        for rule, above in zip(chain, (*chain[1:], None), strict=False)
    }
    return [
        Node(
            rule.key,
            above and above.key,
            _left(rule, known, meter) if rule.dynamic or rule.net else rule.limit,
        )
        for rule, above in parents.values()
    ]


def _left(rule: Rule, known: Sequence[Known], meter: Measured | None) -> Limit:
    """What the load beside the members leaves of the limit of a grid connection.

    Of one that is net, that load takes nothing away, but what is left of own production adds.
    """
    beneath = [
        replace(one.member, is_stale=one.taker.is_stale) for one in known if rule in one.chain
    ]
    left = headroom(rule.limit, meter=meter, members=beneath)
    if rule.net:
        return replace(rule.limit, max_w=max(rule.limit.max_w, _stepped(left.max_w)))
    return replace(
        left,
        min_w=None if left.min_w is None else -_stepped(-left.min_w),
        max_w=None if left.max_w is None else _stepped(left.max_w),
        phase_max_w=left.phase_max_w and tuple(map(_stepped, left.phase_max_w)),
    )


def _seen(tally: Tally, rule: Rule, meter: Measured | None) -> Tally:
    """The tally, which tells where a meter does not show what is left of a limit."""
    is_blind = meter is None or (tally.phase is not None and meter.phases_w is None)
    return replace(tally, blind=True) if rule.dynamic and is_blind else tally


def _stepped(room_w: float) -> float:
    """Room in whole steps, never more than there is; what is missing is told as it is."""
    return room_w if room_w < 0 else room_w // STEP_W * STEP_W


# Shares ------------------------------------------------------------------------------------------


def _falls(one: Known, target: Allotted) -> bool:
    """Whether it is to have less than it may be keeping to; of one that is unsure that counts."""
    held, to = one.held, _span(target)
    falls_max = or_inf(held.max_w) > or_inf(to.max_w)
    falls_min = or_inf(held.min_w, -1) < or_inf(to.min_w, -1)
    return (falls_max or falls_min) and not one.member.is_stale


def _told(
    one: Known, target: Allotted, within: Span, now: datetime, at: datetime, *, may_rise: bool
) -> Kept:
    """The share as it is to be told, and what turns, ramps and gateways make of it.

    `within` is what it is told by stronger limits.
    """
    before, is_confirmed = one.kept, one.taker.is_confirmed
    held, span = held_by(one.taker, before, now, at), _span(target)
    must = _must(one.member, within)
    if not may_rise and not one.member.is_stale:
        span = span.narrowed(held.widened(must))
    waits = span != _span(target)
    if before is not None:
        span = Span(
            _or_before(span.min_w, before.span.min_w, -1),
            _or_before(span.max_w, before.span.max_w, 1),
        ).widened(must)
    is_done = is_confirmed and before is not None and before.span == span
    turn = before if waits and before is not None and before.paused_since else target
    since = None if before is None or is_confirmed else before.unconfirmed_since
    return Kept(
        span=span,
        wide=held.widened(span),
        ahead={} if before is None else before.ahead,
        paused_since=turn.paused_since,
        running_since=turn.running_since,
        asks_since=((before and before.asks_since) or now) if one.member.draws else None,
        unused_since=one.unused_since,
        unconfirmed_since=None if is_done else since or now,
        why_min=target.lower.why.value,
        why_max=Why.RAMPING.value if waits else target.upper.why.value,
    )


def _must(member: Member, within: Span) -> Span:
    """What it cannot do without: a share that contradicts it would bound nothing at all.

    A set point that stronger limits do not let it keep to yet is discarded, and asks for nothing.
    """
    set_point_w = member.set_point_w or 0.0
    is_let = or_inf(within.min_w, -1) <= set_point_w <= or_inf(within.max_w)
    ordered = [set_point_w if is_let else 0.0]
    if not member.can_pause:
        ordered += [max(member.min_w or 0.0, 0.0), min(member.max_w or 0.0, 0.0)]
    return Span(min(0.0, *ordered), max(0.0, *ordered))


def _or_before(to_w: float | None, was_w: float | None, sign: int) -> float | None:
    """A bound, or the one before where it would rise by too little."""
    if to_w is None or was_w is None:
        return to_w
    return was_w if 0 <= (to_w - was_w) * sign <= TOLERANCE_W else to_w


def _span(share: Allotted) -> Span:
    return Span(share.min_w, share.max_w)


def _as_constraint(rule: Rule, span: Span) -> Constraint:
    """A share as a constraint at the next division."""
    return Constraint(
        id=rule.key,
        emitter=EmitterKind.CLUSTER_LIMIT,
        priority=rule.priority,
        created_at=rule.created_at,
        min_w=span.min_w,
        max_w=span.max_w,
        bends=True,
    )
