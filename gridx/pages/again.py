"""What comes again every week, in the lists of constraints: one line for each series."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from flexibility.emitters import Emitter
from flexibility.models import Constraint, Series
from flexibility.series.sentences import series_words
from gridx.pages.acting import is_editable, may_edit, may_withdraw


@dataclass(frozen=True, slots=True)
class Again:
    """A series in words, and what the reader may do with it (empty where nothing)."""

    words: str
    edit_url: str
    withdraw_url: str


def first_of_each(rows: Iterable[Constraint]) -> list[Constraint]:
    """The rows in their order, of each series only the occurrence that is next."""
    rows = list(rows)
    nearest: dict[UUID, Constraint] = {}
    for row in rows:
        known = nearest.get(row.series_id) if row.series_id else None
        if row.series_id and (known is None or row.valid_at < known.valid_at):
            nearest[row.series_id] = row
    return [row for row in rows if not row.series_id or nearest[row.series_id] is row]


def series_among(rows: Iterable[Constraint]) -> Mapping[UUID, Series]:
    """The series that the rows are occurrences of, by one query."""
    ids = {row.series_id for row in rows if row.series_id}
    return Series.objects.in_bulk(ids) if ids else {}


def later_occurrences(
    *, shown: Collection[UUID], now: datetime, **target: object
) -> list[Constraint]:
    """Of the target's standing series that are not shown (ids) the next occurrence of each."""
    standing = Series.objects.filter(withdrawn_at=None, until_at__gt=now, **target)
    ids = standing.exclude(pk__in=shown).values("pk")
    coming = Constraint.objects.filter(series__in=ids, withdrawn_at=None, invalid_at__gt=now)
    nearest = coming.order_by("series", "valid_at").distinct("series")
    return list(nearest.select_related("emitter", "appliance", "cluster", "pool"))


def again_of(series: Series | None, emitters: Iterable[Emitter], *, now: datetime) -> Again | None:
    """A series as a line tells of it."""
    if series is None:
        return None
    is_own = any(may_withdraw(series, one) for one in emitters)
    is_changed = is_editable(series) and any(may_edit(series, one) for one in emitters)
    return Again(
        words=series_words(series, now=now),
        edit_url=reverse("series_edit", args=[series.pk]) if is_changed else "",
        withdraw_url=reverse("series_withdraw", args=[series.pk]) if is_own else "",
    )
