from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from measurements.intervals import check_length, parse_interval
from measurements.resolutions import Resolution, Span

BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-07T22:00:00Z/2024-05-08T22:00:00Z",
        "2024-05-08T00:00:00+02:00/2024-05-09T00:00:00+02:00",
        "2024-05-08T00:00:00 02:00/2024-05-09T00:00:00 02:00",
        "2024-05-08T00:00:00 0200/2024-05-09T00:00:00+0200",
        "2024-05-08T00:00:00 02/2024-05-09T00:00:00+02",
        "2024-05-08T00:00:00.000+02:00/2024-05-08T22:00:00.000z",
        "2024-05-07 22:00:00Z/2024-05-08T22:00Z",
    ],
)
def test_an_interval_is_read_as_its_clients_write_it(text):
    assert parse_interval(text) == Span(utc(2024, 5, 7, 22), utc(2024, 5, 8, 22))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is <start>/<end>"),
        ("2024-05-08T00:00:00Z", "is <start>/<end>"),
        ("2024-05-08T00:00:00Z/2024-05-09T00:00:00Z/x", "is <start>/<end>"),
        ("yesterday/today", "no instant, such as 2026-06-01T00:00:00Z: yesterday"),
        ("2024-13-08T00:00:00Z/2024-05-09T00:00:00Z", "no instant, such as"),
        ("2024-05-08T00:00:00/2024-05-09T00:00:00Z", "without its offset"),
        ("2024-05-08/2024-05-09", "without its offset"),
        ("2024-05-09T00:00:00Z/2024-05-08T00:00:00Z", "ends before it begins"),
        ("2024-05-09T00:00:00Z/2024-05-09T02:00:00+02:00", "has no length"),
        ("0001-01-01T00:00:00Z/9999-12-31T23:59:59Z", "years 1990 to 2100"),
        ("2024-05-09T00:00:00Z/9999-12-31T23:59:59-14:00", "years 1990 to 2100"),
        ("\x00/\x00", "no instant, such as"),
        ("2024-05-08\x0000:00:00Z/2024-05-09T00:00:00Z", "no instant, such as"),
        ("2024-05-08T00:00:00Z/2024-05-09T00:00:00Z\x00", "no instant, such as"),
        (" 2024-05-08T00:00:00Z/2024-05-09T00:00:00Z", "no instant, such as"),
        ("2024-05-08T00:00:00Z/2024-05-09T00:00:00Z ", "no instant, such as"),
        ("2024-05-08T00:00:00Z / 2024-05-09T00:00:00Z", "no instant, such as"),
        ("2024-05-08T00:00:00Z/2024-05-09T00:00:00Z\n", "no instant, such as"),
        ("2024-05-08,00:00:00Z/2024-05-09T00:00:00Z", "no instant, such as"),
        ("20240508T000000Z/20240509T000000Z", "no instant, such as 2026-06-01T00:00:00Z"),
        ("٢٠٢٤-05-08T00:00:00Z/2024-05-09T00:00:00Z", "no instant, such as"),
    ],
)
def test_what_is_no_interval_is_refused_with_a_sentence(text, said):
    with pytest.raises(ValueError, match=said):
        parse_interval(text)


@pytest.mark.parametrize(
    ("resolution", "span"),
    [
        (Resolution.QUARTER, Span(utc(2025, 10, 25, 22), utc(2025, 10, 26, 23))),  # 25 hours
        (Resolution.QUARTER, Span(utc(2025, 10, 26, 0), utc(2025, 10, 27, 0))),
        (Resolution.HOUR, Span(utc(2025, 10, 19, 22), utc(2025, 10, 26, 23))),
        (Resolution.DAY, Span(utc(2025, 9, 30, 22), utc(2025, 10, 31, 23))),
        (Resolution.WEEK, Span(utc(2025, 9, 30, 22), utc(2025, 10, 31, 23))),
        (Resolution.MONTH, Span(utc(2019, 12, 31, 23), utc(2024, 12, 31, 23))),
        (Resolution.YEAR, Span(utc(1991, 1, 1), utc(2099, 1, 1))),
    ],
)
def test_the_longest_intervals_are_let_through(resolution, span):
    check_length(span, resolution, BERLIN)


@pytest.mark.parametrize(
    ("resolution", "span", "said"),
    [
        (Resolution.QUARTER, Span(utc(2025, 6, 1), utc(2025, 6, 2, 1)), "longer than 1 day"),
        (Resolution.HOUR, Span(utc(2025, 6, 1), utc(2025, 6, 8, 1)), "longer than 1 week"),
        (Resolution.DAY, Span(utc(2025, 6, 1), utc(2025, 7, 3)), "longer than 1 month"),
        (Resolution.WEEK, Span(utc(2025, 6, 1), utc(2025, 7, 3)), "longer than 1 month"),
        (Resolution.MONTH, Span(utc(2020, 1, 1), utc(2025, 1, 3)), "longer than 5 years"),
    ],
)
def test_a_longer_one_is_refused_and_the_limit_named(resolution, span, said):
    with pytest.raises(ValueError, match=said):
        check_length(span, resolution, BERLIN)
