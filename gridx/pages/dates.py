"""Names of days, weeks, months and hours, in the active language. The one place for it."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from gridx.pages.shown import Shown, Zoom
from measurements.resolutions import Span


def day_name(day: date) -> str:
    """ "Monday, 23 November 2026" """
    # Translators: as in "Monday, 23 November 2026"; Django's date format characters
    return date_format(day, pgettext("date format", "l, j F Y"))


def zoom_names() -> dict[Zoom, str]:
    """What can be chosen to be shown at once."""
    return {
        Zoom.DAY: _("Day"),
        Zoom.WEEK: _("Week"),
        Zoom.MONTH: _("Month"),
        Zoom.YEAR: _("Year"),
    }


def title_of(shown: Shown) -> str:
    """What the period is called: "Today", "Week 47, 2026", "November 2026", "2026"."""
    match shown.zoom:
        case Zoom.DAY:
            return _relative_day(shown) or day_name(shown.first_day)
        case Zoom.WEEK:
            year, week, _weekday = shown.first_day.isocalendar()
            return _("Week %(week)s, %(year)s") % {"week": week, "year": year}
        case Zoom.MONTH:
            # Translators: as in "November 2026"; Django's date format characters
            return date_format(shown.first_day, pgettext("date format", "F Y"))
    return str(shown.first_day.year)


def when_of(shown: Shown) -> str:
    """From which day to which: "16 – 22 November 2026"."""
    if shown.zoom is Zoom.DAY:
        return day_name(shown.first_day) if _relative_day(shown) else ""
    if shown.zoom is not Zoom.WEEK:
        return ""
    first, last = shown.first_day, shown.last_day
    # Translators: as in "23 November 2026"; Django's date format characters
    whole = pgettext("date format", "j F Y")
    if (first.year, first.month) == (last.year, last.month):
        # Translators: the day of the month alone, before the end of a range
        begin = pgettext("date format", "j")
    elif first.year == last.year:
        # Translators: as in "23 November"
        begin = pgettext("date format", "j F")
    else:
        begin = whole
    return f"{date_format(first, begin)} – {date_format(last, whole)}"


def axis_labels(shown: Shown, spans: list[Span]) -> tuple[list[str], list[str]]:
    """The names of the parts below a chart of a week, month or year: (wide, narrow)."""
    days = [span.from_at.astimezone(shown.zone).date() for span in spans]
    match shown.zoom:
        case Zoom.WEEK:
            return (
                [f"{date_format(day, 'D')} {day.day}" for day in days],
                [date_format(day, "D") for day in days],
            )
        case Zoom.MONTH:
            return (
                [str(day.day) for day in days],
                [str(day.day) if day.day == 1 or day.day % 5 == 0 else "" for day in days],
            )
    return (
        [date_format(day, "M") for day in days],
        [date_format(day, "M")[0] for day in days],
    )


def span_name(shown: Shown, span: Span) -> str:
    """The heading of a row: "14:15–14:30", "Mon 23 November", "November"."""
    start, end = (at.astimezone(shown.zone) for at in span)
    match shown.zoom:
        case Zoom.DAY:
            return f"{_clock(start)}–{_clock(end)}"
        case Zoom.YEAR:
            return date_format(start, "F")
    # Translators: as in "Mon 23 November"; Django's date format characters
    return date_format(start.date(), pgettext("date format", "D j F"))


def spans_name(shown: Shown) -> str:
    """What the rows are."""
    return {Zoom.DAY: _("Time"), Zoom.YEAR: _("Month")}.get(shown.zoom, _("Day"))


def clock_time(at: datetime, zone: ZoneInfo) -> str:
    """The local time of an instant: "14:15"."""
    return at.astimezone(zone).strftime("%H:%M")


def instant_name(at: datetime, zone: ZoneInfo, *, beside: datetime) -> str:
    """The local time of an instant, to the millisecond where that says something: "14:15:00". With
    its day where that is another one than that of `beside`: "23 November, 14:15:00"."""
    local, other = at.astimezone(zone), beside.astimezone(zone)
    clock = _clock(local, "milliseconds" if local.microsecond else "seconds")
    if local.date() == other.date():
        return clock
    if local.year == other.year:
        # Translators: as in "23 November"
        day = pgettext("date format", "j F")
    else:
        # Translators: as in "23 November 2026"; Django's date format characters
        day = pgettext("date format", "j F Y")
    return f"{date_format(local.date(), day)}, {clock}"


def _clock(local: datetime, timespec: str = "minutes") -> str:
    """The time of day; where the clock shows it twice that day, with the zone's abbreviation."""
    text = local.time().isoformat(timespec)
    # Instants come from UTC, so a time that the clock skips is never asked for.
    is_twice = local.replace(fold=1 - local.fold).utcoffset() != local.utcoffset()
    return f"{text} {local.tzname()}" if is_twice else text


def _relative_day(shown: Shown) -> str:
    if shown.first_day == shown.today:
        return _("Today")
    if shown.first_day == shown.today - timedelta(days=1):
        return _("Yesterday")
    return ""
