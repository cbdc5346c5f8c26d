"""Series: limits that come again at times of the day, set and withdrawn as one.

Every occurrence of the next 400 days is a constraint of its own, so that nothing else has to know
of series. One that goes on for longer is extended as time passes (`extend_series`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import Verb, record_change
from accounts.models import User
from flexibility.emitters import Emitter, UnableToConstrain, priority_of
from flexibility.models import Constraint, Series
from flexibility.operations import (
    LONGEST_VALIDITY,
    RESTORED_WITHIN,
    Draft,
    UnableToRestore,
    drafted,
    is_withdrawn_lately,
    require_own,
)
from flexibility.resolver import EmitterKind
from flexibility.resolving import hold_systems, resolve_systems
from flexibility.series.recurrence import EVERY_DAY, Frame, Occurrence, occurrences, overlapping
from flexibility.targets import Target, account_of, fields_of, hold_target, systems_of
from inventory.models import Appliance, Cluster, System, SystemPool, validate_time_zone

MOST_PARTS = 48
MOST_STANDING = 250
MOST_OCCURRENCES = 20_000
AT_ONCE = 1_000
# A series that ends later than this may have to be extended.
EXTENDED_FROM = LONGEST_VALIDITY - timedelta(days=30)

_ASKED = ("min_w", "max_w", "set_point_w", "closest", "min_wh", "max_wh")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is asked for at a time of the day; validity and id are those of the occurrences."""

    frame: Frame
    asks: Draft


@dataclass(frozen=True, kw_only=True)
class SeriesDraft:
    """A series as it is asked for.

    `weekdays` (Monday is 0) are those on which a part begins, empty is all. `kinds` of appliances
    are for systems, which have to say them, clusters and pools.
    """

    parts: tuple[Part, ...]
    from_at: datetime
    until_at: datetime
    time_zone: str
    weekdays: tuple[int, ...] = ()
    title: str = ""
    kinds: tuple[str, ...] = ()
    priority: int | None = None


def set_series(
    *,
    target: Target,
    draft: SeriesDraft,
    emitter: Emitter,
    now: datetime,
    series: Series | None = None,
) -> Series:
    """Limit a target again and again, or change from now on what a series asks for.

    An occurrence that somebody withdrew by itself stays withdrawn, and so does what a change puts
    in its place.

    Raises UnableToConstrain, naming the field, with the number of the part at fault; and
    PermissionDenied where another kind of emitter set the series.
    """
    _check(draft, now)
    if series is not None and series.emitter_kind != emitter.kind:
        raise PermissionDenied
    found = Series(
        created_at=now if series is None else series.created_at,
        updated_at=now,
        kinds=list(draft.kinds),
        title=draft.title,
        from_at=draft.from_at,
        until_at=draft.until_at,
        time_zone=draft.time_zone,
        weekdays=sorted(set(draft.weekdays)),
        parts=[part_to_json(part) for part in draft.parts],
        priority=priority_of(emitter.kind, draft.priority),
        emitter_kind=emitter.kind.value,
        emitter=emitter.user,
        **fields_of(target),
    )
    if series is not None:
        found.pk = series.pk
    with transaction.atomic():
        systems = hold_target(target)
        rows = _rows(found, draft, emitter, now)
        if series is not None:
            rows = _without_withdrawn(rows, series, now)
        found.save(force_insert=series is None, force_update=series is not None)
        kept = _replace_others(found, rows, now)
        Constraint.objects.bulk_create(
            (row for key, row in rows.items() if key not in kept), batch_size=AT_ONCE
        )
        _require_room(found, now)
        _record(found, Verb.CONSTRAINED, emitter.user, now)
        resolve_systems(systems=systems, now=now)
    return found


def withdraw_series(*, series: Series, by: Emitter, now: datetime) -> Series:
    """End a series at once: what of it holds now, and all that is still to come.

    Withdrawn again changes nothing. Raises PermissionDenied for another kind of emitter than the
    one that set it; staff may withdraw anybody's.
    """
    require_own(series, by)
    with transaction.atomic():
        systems = hold_systems(systems_of(series.target))
        withdrawn = Series.objects.filter(pk=series.pk, withdrawn_at=None).update(
            withdrawn_at=now, withdrawn_by=by.user
        )
        if withdrawn:
            series.withdrawn_at, series.withdrawn_by = now, by.user
            _ahead(series, now).update(withdrawn_at=now, withdrawn_by=by.user)
            _record(series, Verb.CONSTRAINT_WITHDRAWN, by.user, now)
            resolve_systems(systems=systems, now=now)
    return series


def restore_series(
    *, series: Series, by: Emitter, now: datetime, within: timedelta = RESTORED_WITHIN
) -> Series:
    """Take back that somebody withdrew a series, within a minute, or another time.

    One that stands is left as it is. Raises PermissionDenied as `withdraw_series` does, and
    UnableToRestore where it is too late.
    """
    require_own(series, by)
    with transaction.atomic():
        systems = hold_target(series.target)
        row = Series.objects.select_for_update(of=("self",)).get(pk=series.pk)
        if row.withdrawn_at is None:
            return row
        if not may_restore_series(row, now=now, within=within):
            raise UnableToRestore(_("It was withdrawn too long ago, or is over: set it anew."))
        # Those that were withdrawn with it, and no others.
        Constraint.objects.filter(
            series=row, withdrawn_at=row.withdrawn_at, invalid_at__gt=now
        ).update(withdrawn_at=None, withdrawn_by=None)
        row.withdrawn_at = row.withdrawn_by = None
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
        _require_room(row, now)
        _record(row, Verb.CONSTRAINT_RESTORED, by.user, now)
        resolve_systems(systems=systems, now=now)
    return row


def may_restore_series(row: Series, *, now: datetime, within: timedelta = RESTORED_WITHIN) -> bool:
    """Whether a person withdrew it just now, and it would still occur."""
    return is_withdrawn_lately(row, now=now, within=within) and row.until_at > now


def extend_series(*, now: datetime) -> int:
    """Add the occurrences that are less than 400 days ahead by now; returns how many."""
    added = 0
    long_ones = Series.objects.filter(withdrawn_at=None, until_at__gt=now + EXTENDED_FROM)
    for pk in long_ones.values_list("pk", flat=True):
        with transaction.atomic():
            series = Series.objects.select_for_update(of=("self",)).get(pk=pk)
            known = Constraint.objects.filter(series=series).aggregate(until=Max("invalid_at"))
            if series.withdrawn_at is not None or known["until"] is None:
                continue
            draft = replace(series_draft_of(series), from_at=max(known["until"], now))
            emitter = Emitter(EmitterKind(series.emitter_kind), series.emitter)
            rows = _occurring(series, draft, emitter, now)
            Constraint.objects.bulk_create(rows.values(), batch_size=AT_ONCE)
            added += len(rows)
    return added


def drafted_series(
    *, target: Target, draft: SeriesDraft, emitter: Emitter, now: datetime
) -> list[Constraint]:
    """The constraints that a series would become, not saved. Raises UnableToConstrain."""
    _check(draft, now)
    series = Series(**fields_of(target))
    return list(_rows(series, draft, emitter, now).values())


def series_draft_of(series: Series) -> SeriesDraft:
    """What a series asks for, to be changed in part."""
    return SeriesDraft(
        parts=tuple(map(part_of_json, series.parts)),
        from_at=series.from_at,
        until_at=series.until_at,
        time_zone=series.time_zone,
        weekdays=tuple(series.weekdays),
        title=series.title,
        kinds=tuple(series.kinds),
        priority=series.priority,
    )


# Occurrences -------------------------------------------------------------------------------------

# What makes an occurrence the same as before: its constraint stays.
_Key = tuple[Any, ...]


def _rows(
    series: Series, draft: SeriesDraft, emitter: Emitter, now: datetime
) -> dict[_Key, Constraint]:
    """The constraints of all occurrences from now on. Raises UnableToConstrain without any."""
    if not _constrained(series.target, draft.kinds):
        raise UnableToConstrain("target", _("It has no appliance that is meant."))
    rows = _occurring(series, draft, emitter, now)
    if not rows:
        raise UnableToConstrain("parts", _("It never occurs."))
    return rows


def _occurring(
    series: Series, draft: SeriesDraft, emitter: Emitter, now: datetime
) -> dict[_Key, Constraint]:
    rows = {}
    found = _occurrences(draft, now)
    for target in _constrained(series.target, draft.kinds):
        kinds = () if isinstance(target, Appliance) else draft.kinds
        for one in found:
            asks = replace(
                draft.parts[one.frame].asks,
                id=None,
                priority=draft.priority,
                valid_at=one.from_at,
                invalid_at=one.until_at,
                kinds=kinds,
            )
            try:
                row = drafted(asks, target=target, emitter=emitter, now=now)
            except UnableToConstrain as error:
                raise UnableToConstrain(error.field, error.reason, number=one.frame) from error
            row.series = series
            rows[_key(row, now)] = row
    return rows


def _occurrences(draft: SeriesDraft, now: datetime) -> list[Occurrence]:
    """Those of the next 400 days; what adjoins and asks for the same is one."""
    found: list[Occurrence] = []
    for one in occurrences(
        [part.frame for part in draft.parts],
        weekdays=draft.weekdays or EVERY_DAY,
        zone=ZoneInfo(draft.time_zone),
        from_at=max(draft.from_at, now),
        until_at=min(draft.until_at, now + LONGEST_VALIDITY),
    ):
        last = found[-1] if found else None
        if (
            last is not None
            and last.until_at == one.from_at
            and draft.parts[last.frame].asks == draft.parts[one.frame].asks
        ):
            found[-1] = replace(last, until_at=one.until_at)
        else:
            found.append(one)
    return found


def _constrained(
    target: Target, kinds: Collection[str]
) -> list[Appliance] | list[Cluster] | list[SystemPool]:
    """What the constraints are set on: of a system, its appliances of these kinds."""
    if not isinstance(target, System):
        return [target]
    meant = Appliance.objects.filter(system=target, kind__in=kinds, removed_at=None)
    return list(meant.order_by("key"))


def _key(row: Constraint, now: datetime) -> _Key:
    return (
        row.appliance_id or row.cluster_id or row.pool_id,
        max(row.valid_at, now),
        row.invalid_at,
        row.priority,
        tuple(row.kinds),
        *(getattr(row, name) for name in _ASKED),
    )


def _without_withdrawn(
    rows: Mapping[_Key, Constraint], series: Series, now: datetime
) -> dict[_Key, Constraint]:
    """The occurrences but those at the time of one that somebody withdrew by itself."""
    withdrawn = Constraint.objects.filter(
        series=series, withdrawn_by__isnull=False, invalid_at__gt=now
    )
    if series.withdrawn_at is not None:
        withdrawn = withdrawn.exclude(withdrawn_at=series.withdrawn_at)
    spans: dict[UUID | None, list[Constraint]] = {}
    for one in withdrawn:
        spans.setdefault(_key(one, now)[0], []).append(one)
    return {
        key: row
        for key, row in rows.items()
        if not any(
            one.valid_at < row.invalid_at and row.valid_at < one.invalid_at
            for one in spans.get(key[0], ())
        )
    }


def _replace_others(series: Series, rows: Mapping[_Key, Constraint], now: datetime) -> set[_Key]:
    """End those occurrences of a series that are no longer asked for; returns those that stay.

    Nobody withdrew them: the series asks for something else.
    """
    before = {_key(row, now): row.pk for row in _ahead(series, now)}
    gone = [pk for key, pk in before.items() if key not in rows]
    Constraint.objects.filter(pk__in=gone).update(withdrawn_at=now)
    return before.keys() & rows.keys()


def _ahead(series: Series, now: datetime) -> QuerySet[Constraint]:
    """The occurrences that hold now, and those to come."""
    return Constraint.objects.filter(series=series, withdrawn_at=None, invalid_at__gt=now)


# Shared ------------------------------------------------------------------------------------------


def _check(draft: SeriesDraft, now: datetime) -> None:
    try:
        validate_time_zone(draft.time_zone)
    except ValidationError as error:
        raise UnableToConstrain("time_zone", _("This is no time zone.")) from error
    if not 1 <= len(draft.parts) <= MOST_PARTS:
        raise UnableToConstrain("parts", _("From 1 to %d at once.") % MOST_PARTS)
    if not set(draft.weekdays) <= EVERY_DAY:
        raise UnableToConstrain("weekdays", _("This is no day of the week."))
    if draft.until_at <= draft.from_at:
        raise UnableToConstrain("until_at", _("It ends before it begins."))
    if draft.until_at <= now:
        raise UnableToConstrain("until_at", _("It would be over already."))
    if draft.from_at >= now + LONGEST_VALIDITY:
        raise UnableToConstrain("from_at", _("At most %d days ahead.") % LONGEST_VALIDITY.days)
    both = overlapping(part.frame for part in draft.parts)
    if both is not None:
        raise UnableToConstrain("parts", _("Two of them overlap."), number=both[1])


def _require_room(series: Series, now: datetime) -> None:
    """Each kind of emitter has room of its own for series."""
    others = Series.objects.filter(
        withdrawn_at=None,
        until_at__gt=now,
        emitter_kind=series.emitter_kind,
        **fields_of(series.target),
    )
    if others.count() > MOST_STANDING:
        raise UnableToConstrain("series", _("At most %d series stand at a time.") % MOST_STANDING)
    standing = Constraint.objects.filter(
        series__in=others, withdrawn_at=None, invalid_at__gt=now
    ).count()
    if standing > MOST_OCCURRENCES:
        reason = _("At most %d occurrences stand at a time.") % MOST_OCCURRENCES
        raise UnableToConstrain("series", reason)


def part_to_json(part: Part) -> dict[str, Any]:
    """A part as it is kept."""
    asked = {name: getattr(part.asks, name) for name in _ASKED}
    return {
        "begins": part.frame.begins.isoformat(),
        "ends": part.frame.ends.isoformat(),
        **{name: value for name, value in asked.items() if value is not None},
    }


def part_of_json(part: Mapping[str, Any]) -> Part:
    """A part that was kept."""
    asks = {name: value for name, value in part.items() if name in _ASKED}
    frame = Frame(time.fromisoformat(part["begins"]), time.fromisoformat(part["ends"]))
    return Part(frame=frame, asks=Draft(**asks))


def _record(series: Series, verb: str, by: User | None, now: datetime) -> None:
    target = series.target
    account = account_of(target)
    changes = {
        "series": [None, series.title or str(series.pk)],
        "priority": [None, series.priority],
        "valid_at": [None, series.from_at.isoformat()],
        "invalid_at": [None, series.until_at.isoformat()],
    }
    record_change(verb=verb, target=target, account=account, by=by, now=now, changes=changes)
