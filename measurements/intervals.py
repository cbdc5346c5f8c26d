"""The interval that a client asks for, and how long it may be. Pure."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from measurements.resolutions import Resolution, Span

# How long an interval may be at a resolution, as its clients know it.
LIMITS: dict[Resolution, tuple[str, timedelta]] = {
    Resolution.QUARTER: ("1 day", timedelta(days=1)),
    Resolution.HOUR: ("1 week", timedelta(days=7)),
    Resolution.DAY: ("1 month", timedelta(days=31)),
    Resolution.WEEK: ("1 month", timedelta(days=31)),
    Resolution.MONTH: ("5 years", timedelta(days=5 * 365 + 2)),
}
# The same for single readings, at no resolution.
RAW_LIMIT = "24 hours"
_RAW_LONGEST = timedelta(hours=24)
_EXAMPLE = "2026-06-01T00:00:00Z"
_FIRST_YEAR, _LAST_YEAR = 1990, 2100

# What is read by `datetime.fromisoformat`, which takes any character between date, time and offset.
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
# `+02:00` that was not escaped in a query arrives as ` 02:00`.
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d{2}(:?\d{2})?$)")


def parse_interval(text: str) -> Span:
    """The span of `<start>/<end>`, ISO 8601 instants with their offset.

    Raises ValueError, with a sentence for the client.
    """
    bounds = text.split("/")
    if len(bounds) != 2:
        raise ValueError(f"is <start>/<end>, such as {_EXAMPLE}/2026-06-02T00:00:00Z")
    span = Span(*map(_instant, bounds))
    if span.from_at >= span.until_at:
        raise ValueError("ends before it begins, or has no length")
    return span


def check_length(span: Span, resolution: Resolution, zone: ZoneInfo) -> None:
    """Raise ValueError, naming the limit, where the span is too long for the resolution.

    A local day counts as one day, though its clock may be set back within it.
    """
    if resolution not in LIMITS:
        return
    words, most = LIMITS[resolution]
    if _length(span, zone) > most:
        raise ValueError(f"is longer than {words}, the limit at a resolution of {resolution}")


def check_raw_length(span: Span, zone: ZoneInfo) -> None:
    """The same where single readings are asked for."""
    if _length(span, zone) > _RAW_LONGEST:
        raise ValueError(f"is longer than {RAW_LIMIT}, the limit of single readings")


def _length(span: Span, zone: ZoneInfo) -> timedelta:
    by_the_clock = _wall(span.until_at, zone) - _wall(span.from_at, zone)
    return min(span.until_at - span.from_at, by_the_clock)


def _instant(text: str) -> datetime:
    plain = _LOST_PLUS.sub("+", text).upper()
    try:
        at = datetime.fromisoformat(plain) if _INSTANT.fullmatch(plain) else None
    except ValueError:
        # No day of the calendar, or no time of a day.
        at = None
    if at is None:
        raise ValueError(f"has a bound that is no instant, such as {_EXAMPLE}: {text[:40]}")
    if at.tzinfo is None:
        raise ValueError(f"has a bound without its offset: {text[:40]}")
    if not _FIRST_YEAR <= at.year < _LAST_YEAR:
        raise ValueError(f"lies outside of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return at.astimezone(UTC)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)
