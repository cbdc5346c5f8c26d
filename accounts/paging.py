"""Long lists, page by page, with counts that stay cheap however long the list is."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest

SIZE = 50
# Beyond it a page says "more than": counting a million rows exactly helps nobody.
COUNTED = 10_000


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
