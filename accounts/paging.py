"""Long lists, page by page, with counts that stay cheap however long the list is.

And whole ones in parts, for who sends them: between two parts, however long that takes, the
database keeps nothing open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest

SIZE = 50
# Beyond it a page says "more than": counting a million rows exactly helps nobody.
COUNTED = 10_000
# So many ids are fetched at a time; of each the bytes are kept.
_IDS_AT_ONCE = 10_000
_ID_BYTES = 16


@dataclass(frozen=True)
class Page:
    """Some rows of a list. `total` counts up to COUNTED; `is_longer` says that there are more."""

    rows: Sequence
    number: int
    first: int
    last: int
    total: int
    is_longer: bool
    previous: int | None
    next: int | None


def search_of(request: HttpRequest) -> str:
    """What is searched for (`?q=`), without what PostgreSQL's texts cannot hold."""
    return request.GET.get("q", "").replace("\0", "").strip()[:100]


def page_of(found: QuerySet | list, wanted: str | None, *, size: int = SIZE) -> Page:
    """The wanted page (from 1; nonsense is 1), or the last one where there are not so many."""
    counted = len(found) if isinstance(found, list) else found.order_by()[: COUNTED + 1].count()
    is_longer = counted > COUNTED
    total = min(counted, COUNTED)
    number = int(wanted) if wanted and wanted.isascii() and wanted.isdecimal() else 1
    number = max(1, min(number, 1_000_000))
    if not is_longer:
        number = min(number, max(1, -(-total // size)))
    offset = (number - 1) * size
    rows = list(found[offset : offset + size + 1])
    shown = rows[:size]
    return Page(
        rows=shown,
        number=number,
        first=offset + 1 if shown else 0,
        last=offset + len(shown),
        total=total,
        is_longer=is_longer,
        previous=number - 1 if number > 1 else None,
        next=number + 1 if len(rows) > size else None,
    )


def parts_by_key(rows: QuerySet, key: str, *, size: int) -> Iterator[list]:
    """All rows, objects or dicts, in the order of a key: `size` at a time, or the last few.

    The key is unique among them and never changes.
    """
    ordered = rows.order_by(key)
    part = list(ordered[:size])
    while part:
        yield part
        if len(part) < size:
            break
        last = part[-1][key] if isinstance(part[-1], dict) else getattr(part[-1], key)
        part = list(ordered.filter(**{f"{key}__gt": last})[:size])


def ids_in_parts(rows: QuerySet, *, size: int) -> Iterator[list[UUID]]:
    """The ids of all rows in their order of now, whatever it is: `size` at a time, or the last few.

    What they are sorted by may change meanwhile: no row is left out or comes twice for that.
    """
    ids = bytearray()
    for one in rows.values_list("pk", flat=True).iterator(chunk_size=_IDS_AT_ONCE):
        ids += one.bytes
    for start in range(0, len(ids), size * _ID_BYTES):
        part = bytes(ids[start : start + size * _ID_BYTES])
        yield [UUID(bytes=part[at : at + _ID_BYTES]) for at in range(0, len(part), _ID_BYTES)]
