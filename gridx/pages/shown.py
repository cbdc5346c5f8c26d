"""Which period a page shows: what its address asks for, and where one can go from it. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from measurements.resolutions import Resolution, Span, next_period, period_start, periods

# Nobody measured before; and calendars end.
EARLIEST = date(2000, 1, 1)


class Zoom(StrEnum):
    """How much is shown at once; the values are those of the address."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Notice(StrEnum):
    """Why something else is shown than the address asks for."""

    RESOLUTION = "resolution"
    DATE = "date"
    FUTURE = "future"
    EARLY = "early"


# The period that is shown, and the spans that it is drawn in.
_RESOLUTIONS = {
    Zoom.DAY: (Resolution.DAY, Resolution.QUARTER),
    Zoom.WEEK: (Resolution.WEEK, Resolution.DAY),
    Zoom.MONTH: (Resolution.MONTH, Resolution.DAY),
    Zoom.YEAR: (Resolution.YEAR, Resolution.MONTH),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """The period that a page shows, in the system's calendar.

    `day` is the local day that was asked for: it stays the same from zoom to zoom. `today` is the
    local day of now. `notices` say what could not be shown as asked.
    """

    zoom: Zoom
    day: date
    today: date
    zone: ZoneInfo
    span: Span
    notices: tuple[Notice, ...] = ()

    @property
    def query(self) -> str:
        """How addresses ask for it."""
        return urlencode({"resolution": self.zoom.value, "date": self.day.isoformat()})

    @property
    def parts(self) -> Resolution:
        """Into what the period is cut."""
        return _RESOLUTIONS[self.zoom][1]

    @property
    def spans(self) -> list[Span]:
        """The parts of the period, in order."""
        return periods(self.span.from_at, self.span.until_at, self.parts, self.zone)

    @property
    def first_day(self) -> date:
        return self.span.from_at.astimezone(self.zone).date()

    @property
    def last_day(self) -> date:
        return (self.span.until_at - timedelta(seconds=1)).astimezone(self.zone).date()

    @property
    def is_current(self) -> bool:
        """Whether today lies in it."""
        return self.first_day <= self.today <= self.last_day

    @property
    def previous(self) -> date | None:
        """The day to ask for to see the period before; None where there is none."""
        before = _shifted(self.day, self.zoom, -1)
        return before if before >= EARLIEST else None

    @property
    def next(self) -> date | None:
        """The day to ask for to see the period after; None in the current one."""
        return None if self.is_current else min(_shifted(self.day, self.zoom, 1), self.today)


def shown(*, resolution: str | None, day: str | None, zone: ZoneInfo, now: datetime) -> Shown:
    """What the address asks for, or the nearest that makes sense, with notices that say so."""
    notices = []
    today = now.astimezone(zone).date()
    try:
        zoom = Zoom(resolution or Zoom.DAY)
    except ValueError:
        zoom = Zoom.DAY
        notices.append(Notice.RESOLUTION)
    try:
        wanted = date.fromisoformat(day) if day else today
    except ValueError:
        wanted = today
        notices.append(Notice.DATE)
    if wanted > today:
        wanted = today
        notices.append(Notice.FUTURE)
    if wanted < EARLIEST:
        wanted = EARLIEST
        notices.append(Notice.EARLY)
    return Shown(zoom, wanted, today, zone, _span(wanted, zoom, zone), tuple(notices))


def today_of(zone: ZoneInfo, now: datetime) -> Span:
    """The local day in which `now` lies."""
    return local_day(now.astimezone(zone).date(), zone)


def local_day(day: date, zone: ZoneInfo) -> Span:
    """From its beginning to that of the next one."""
    return _span(day, Zoom.DAY, zone)


def _span(day: date, zoom: Zoom, zone: ZoneInfo) -> Span:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
    start = period_start(noon, _RESOLUTIONS[zoom][0], zone)
    return Span(start, next_period(start, _RESOLUTIONS[zoom][0], zone))


def _shifted(day: date, zoom: Zoom, by: int) -> date:
    """The same day of the period before or after; the last one where a month is shorter."""
    if zoom is Zoom.DAY:
        return day + timedelta(days=by)
    if zoom is Zoom.WEEK:
        return day + timedelta(weeks=by)
    months = day.year * 12 + day.month - 1 + (by if zoom is Zoom.MONTH else 12 * by)
    year, month = divmod(months, 12)
    first = date(year, month + 1, 1)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return first.replace(day=min(day.day, (following - first).days))
