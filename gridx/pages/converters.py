"""Parts of addresses that are more than text."""

from datetime import UTC, datetime

from gridx.pages.shown import EARLIEST
from measurements.derivation import NAMES

# Calendars end long after: the days before and after a slot, in any time zone, are dates as well.
_LAST_YEAR = 2100


class SlotConverter:
    """The start of a slot in UTC, to the minute: "20260614T1015Z"."""

    regex = r"\d{8}T\d{2}(?:00|15|30|45)Z"

    def to_python(self, value: str) -> datetime:
        # What is no date (a ValueError) is no address: 404.
        start = datetime.strptime(value, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        if not EARLIEST.year <= start.year <= _LAST_YEAR:
            raise ValueError(f"Nobody measures in {start.year}.")
        return start

    def to_url(self, value: datetime) -> str:
        return value.astimezone(UTC).strftime("%Y%m%dT%H%MZ")


class FigureConverter:
    """The name of a figure of a system, as in `measurements.derivation.NAMES`."""

    regex = "|".join(NAMES)

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value
