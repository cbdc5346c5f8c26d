"""Shares as they are kept: a constraint for each limit and appliance, changed in place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from accounts.rows import update_rows
from flexibility.allotment import Tally
from flexibility.limits.terms import OPEN, Division, Kept, Span
from flexibility.models import Constraint, Share, SharedLimit
from flexibility.resolver import EmitterKind
from inventory.models import Appliance

# How often readings are looked at.
EVERY = timedelta(seconds=10)
# How long the shares of a limit without an end hold, and how much of that must be left.
LASTING = timedelta(days=400)
LASTING_LEFT = timedelta(days=200)
# How long before a limit begins it is divided once more, by readings that are as good as those of
# its beginning.
SHORTLY = timedelta(minutes=1)

_TURNS = ("paused_since", "running_since", "asks_since", "unused_since")
_TOLD = (*_TURNS, "unconfirmed_since", "why_min", "why_max")
_STATE = (*_TOLD, "wide_min_w", "wide_max_w", "ahead")
# A limit and a taker; and from when on, of a share that was divided for a later instant.
_Place = tuple[str, str, datetime | None]
_SHARE = ("min_w", "max_w", "priority", "emitter", "valid_at", "invalid_at", "withdrawn_at")


def kept_of(row: Constraint) -> Kept:
    """What a row of `Constraint`, with its `share`, keeps."""
    share = row.share
    return Kept(
        span=Span(row.min_w, row.max_w),
        wide=Span(share.wide_min_w, share.wide_max_w),
        ahead={datetime.fromisoformat(at): Span(*span) for at, *span in share.ahead},
        **{name: getattr(share, name) for name in _TOLD},
    )


def save_shares(
    limits: Sequence[SharedLimit],
    rows: Iterable[Constraint],
    divided: Mapping[UUID, Division],
    now: datetime,
    *,
    looks_ahead: bool,
) -> set[UUID]:
    """Save the shares that changed, end those that are no more; returns the systems concerned.

    What they are from later instants on is saved, too, where the division `looks_ahead`; else it
    stays as it was.
    """
    known: dict[_Place, Constraint] = {}
    for row in rows:
        known[str(row.limit_id), str(row.appliance_id), row.valid_at if row.fallback else None] = (
            row
        )
    by_key = {str(limit.pk): limit for limit in limits}
    shares, states, systems = [], [], set()

    def save(row: Constraint, share: dict[str, Any], kept: Kept, system: UUID) -> None:
        if _change(row, share):
            shares.append(row)
            systems.add(system)
        audited = _audited(row.share)
        if _change(row.share, _state(row, kept, now)):
            states.append(row.share)
            if _audited(row.share) != audited:
                systems.add(system)

    stays = {} if looks_ahead else _next_ahead(known, now)
    for system, division in divided.items():
        for (limit, taker), kept in division.shares.items():
            of, later = by_key[limit], division.ahead.get((limit, taker), ())
            if looks_ahead:
                kept = replace(kept, ahead=_told_ahead(kept, later, of.invalid_at, now))
            ends = [*(at for at, _kept in later), stays.get((limit, taker), of.invalid_at)]
            for (at, piece), end in zip([(None, kept), *later], ends, strict=True):
                row = known.pop((limit, taker, at), None) or _new_row(of, taker, at)
                save(row, _share(row, of, piece, now, end), piece, system)
    systems |= _end(
        [
            row
            for place, row in known.items()
            if row.withdrawn_at is None and (looks_ahead or place[:2] not in stays)
        ],
        now,
    )
    Constraint.objects.bulk_create(
        shares, update_conflicts=True, unique_fields=["id"], update_fields=_SHARE
    )
    Share.objects.bulk_create(
        states, update_conflicts=True, unique_fields=["constraint"], update_fields=_STATE
    )
    for limit in limits:
        division = divided[limit.system_id]
        limit.tallies = list(map(_as_json, division.tallies.get(str(limit.pk), ())))
        limit.due_at = _next_due(limit, now)
        limit.balanced_at = now if limit.valid_at <= now else None
    update_rows(limits, ["tallies", "balanced_at", "due_at"])
    return systems


def _told_ahead(
    kept: Kept, ahead: Iterable[tuple[datetime, Kept]], end: datetime | None, now: datetime
) -> dict[datetime, Span]:
    """What any schedule that may be in force says of later instants, this one included.

    `kept.ahead` is what those before it say. After its `end` a share bounds nothing.
    """
    pieces = dict(ahead)
    told, span = {}, kept.span
    for at in sorted({*kept.ahead, *pieces}):
        if at <= now:
            continue
        if at in pieces:
            span = pieces[at].span
            told[at] = pieces[at].wide
        else:
            told[at] = kept.ahead[at].widened(span)
    if end is None:
        return told
    return {at: span for at, span in told.items() if at < end} | {end: OPEN}


def _next_ahead(rows: Mapping[_Place, Constraint], now: datetime) -> dict[tuple, datetime]:
    """By limit and taker, when the next share begins that was divided for a later instant."""
    found: dict[tuple, datetime] = {}
    for (limit, taker, at), row in rows.items():
        if at is not None and row.withdrawn_at is None and row.invalid_at > now:
            found[limit, taker] = min(at, found.get((limit, taker), at))
    return found


def _new_row(limit: SharedLimit, taker: str, at: datetime | None) -> Constraint:
    """A share that holds from now on, or one from a later instant on."""
    row = Constraint(
        created_at=limit.created_at,
        appliance_id=UUID(taker),
        limit=limit,
        emitter_kind=EmitterKind.CLUSTER_LIMIT.value,
        fallback=at is not None,
        valid_at=at,
    )
    row.share = Share(constraint=row)
    return row


def _share(
    row: Constraint, limit: SharedLimit, kept: Kept, now: datetime, until_at: datetime | None
) -> dict[str, Any]:
    """What a share's row says, and until when (None: without an end)."""
    is_new = row.withdrawn_at is not None or row.invalid_at is None or row.invalid_at <= now
    has_begun = limit.valid_at <= now and row.valid_at is not None and row.valid_at <= now
    stays = row.fallback or (has_begun and not is_new)
    return {
        "min_w": kept.span.min_w,
        "max_w": kept.span.max_w,
        "priority": limit.priority,
        "emitter_id": limit.emitter_id,
        "valid_at": row.valid_at if stays else max(now, limit.valid_at),
        "invalid_at": until_at or _lasting(None if is_new else row.invalid_at, now),
        "withdrawn_at": None,
    }


def _state(row: Constraint, kept: Kept, now: datetime) -> dict[str, Any]:
    told = {name: getattr(kept, name) for name in _TOLD}
    if row.valid_at > now:
        # Turns begin with the limit.
        told |= dict.fromkeys(_TURNS)
    if row.fallback:
        told["unconfirmed_since"] = None
    wide = kept.span if row.fallback else kept.wide
    ahead = [[at.isoformat(), *span] for at, span in sorted(kept.ahead.items())]
    return told | {"wide_min_w": wide.min_w, "wide_max_w": wide.max_w, "ahead": ahead}


def _audited(share: Share) -> tuple[str, str, bool]:
    """What the audit keeps of how a share came about."""
    return share.why_min, share.why_max, share.asks_since is None


def _next_due(limit: SharedLimit, now: datetime) -> datetime:
    if limit.valid_at <= now:
        return now + EVERY
    shortly = limit.valid_at - SHORTLY
    return shortly if now < shortly else limit.valid_at


def _change(row: Constraint | Share, values: Mapping[str, Any]) -> bool:
    """Set these values; whether any is another one."""
    is_other = any(getattr(row, name) != value for name, value in values.items())
    for name, value in values.items() if is_other else ():
        setattr(row, name, value)
    return is_other


def _lasting(before: datetime | None, now: datetime) -> datetime:
    """Until when the share of a limit without an end holds: renewed long before that."""
    is_long = before is not None and now + LASTING_LEFT < before <= now + LASTING
    return before if is_long else now + LASTING


def _end(rows: Sequence[Constraint], now: datetime) -> set[UUID]:
    if not rows:
        return set()
    # What never held, or for the moment until limits were divided anew, leaves no trace.
    Constraint.objects.filter(
        pk__in=[row.pk for row in rows if row.fallback and row.valid_at > now - SHORTLY]
    ).delete()
    Constraint.objects.filter(pk__in=[row.pk for row in rows]).update(withdrawn_at=now)
    concerned = Appliance.objects.filter(pk__in=[row.appliance_id for row in rows])
    return set(concerned.values_list("system", flat=True))


def _as_json(tally: Tally) -> dict[str, Any]:
    return {
        "side": tally.side.value,
        "phase": tally.phase,
        "limit_w": tally.limit_w,
        "allotted_w": tally.allotted_w,
        "over_w": tally.over_w,
        "by": [list(each) for each in tally.by],
        "blind": tally.blind,
    }
