"""Series in words."""

from datetime import UTC, datetime, time

import pytest
from django.utils import translation

from flexibility.operations import Draft
from flexibility.series.operations import Part, SeriesDraft
from flexibility.series.recurrence import Frame
from flexibility.series.sentences import series_words, weekday_words

NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)


def series(*frames: tuple[int, int], until: datetime, **fields) -> SeriesDraft:
    parts = tuple(
        Part(frame=Frame(time(begins), time(ends)), asks=Draft(max_w=5)) for begins, ends in frames
    )
    fields = {"from_at": NOON, "time_zone": "Europe/Berlin", **fields}
    return SeriesDraft(parts=parts, until_at=until, **fields)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ((), "every day"),
        (range(7), "every day"),
        ((4, 0, 1, 2, 3), "every Mon–Fri"),
        ((5, 6), "every Sat, Sun"),
        ((1, 3), "every Tue, Thu"),
        ((2,), "every Wed"),
    ],
)
def test_days(days, said):
    assert weekday_words(days) == said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            series((17, 20), until=datetime(2026, 12, 31, 23, tzinfo=UTC)),
            "every day, 17:00–20:00, until 31 Dec",
        ),
        (
            # Until six on New Year's Day, so it begins last on New Year's Eve.
            series((22, 6), until=datetime(2027, 1, 1, 5, tzinfo=UTC)),
            "every day, 22:00–06:00, until 31 Dec",
        ),
        (
            series((0, 0), until=datetime(2027, 1, 31, 23, tzinfo=UTC), weekdays=(6,)),
            "every Sun, all day, until 31 Jan 2027",
        ),
        (
            series(
                (6, 8),
                (17, 20),
                from_at=datetime(2026, 7, 1, 4, tzinfo=UTC),
                until=datetime(2026, 7, 31, 22, tzinfo=UTC),
            ),
            "every day, 06:00–08:00, 17:00–20:00, from 1 Jul, until 31 Jul",
        ),
    ],
)
def test_series(asked, said):
    assert series_words(asked, now=NOON) == said


def test_german():
    asked = series((17, 20), until=datetime(2026, 12, 31, 23, tzinfo=UTC), weekdays=range(5))
    with translation.override("de"):
        assert series_words(asked, now=NOON) == "jede Woche Mo–Fr, 17:00–20:00, bis 31. Dez"
