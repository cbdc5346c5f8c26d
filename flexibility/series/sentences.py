"""Series in words: "every Mon–Fri, 17:00–20:00, until 31 Dec"."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from flexibility.models import Series
from flexibility.series.operations import SeriesDraft, series_draft_of

# From so many days in a row on they are said as a span.
_A_SPAN = 3


def series_words(series: Series | SeriesDraft, *, now: datetime) -> str:
    """When a series occurs; the times are those of its zone."""
    draft = series_draft_of(series) if isinstance(series, Series) else series
    zone = ZoneInfo(draft.time_zone)
    times = ", ".join(frame_words(one.frame.begins, one.frame.ends) for one in draft.parts)
    said = [f"{weekday_words(draft.weekdays)}, {times}"]
    today = now.astimezone(zone).date()
    first = draft.from_at.astimezone(zone).date()
    if first > today:
        said.append(_("from %(day)s") % {"day": day_words(first, today)})
    said.append(_("until %(until)s") % {"until": day_words(last_day(draft), today)})
    return ", ".join(said)


def weekday_words(days: Sequence[int]) -> str:
    """ "every day", "every Mon–Fri", "every Tue, Thu" """
    days = sorted(set(days))
    if len(days) in (0, 7):
        return _("every day")
    names = [str(WEEKDAYS_ABBR[day]) for day in days]
    if len(days) >= _A_SPAN and days[-1] - days[0] == len(days) - 1:
        return _("every %(days)s") % {"days": f"{names[0]}–{names[-1]}"}
    return _("every %(days)s") % {"days": ", ".join(names)}


def frame_words(begins: time, ends: time) -> str:
    """ "17:00–20:00", "all day" """
    if begins == ends == time():
        return _("all day")
    return f"{begins:%H:%M}–{ends:%H:%M}"


def last_day(draft: SeriesDraft) -> date:
    """The last day on which it begins."""
    until = draft.until_at.astimezone(ZoneInfo(draft.time_zone))
    frame = draft.parts[-1].frame
    if frame.ends != time() and frame.ends <= frame.begins:
        return until.date() - timedelta(days=1)
    return (until - timedelta(microseconds=1)).date()


def day_words(day: date, today: date) -> str:
    """ "31 Dec", "31 Dec 2027" """
    # Translators: as in "26 Nov"; Django's date format characters
    said = date_format(day, pgettext("date format", "j M"))
    return said if day.year == today.year else f"{said} {day.year}"
