"""How a recording's columns become readings of appliances. Reads no file and no database."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from django.utils.translation import gettext as _

from inventory.kinds import LONGEST_INTERVAL_S, ApplianceKind
from inventory.models import Appliance
from measurements.batches import QUANTITIES

LONGEST_NAME = Appliance._meta.get_field("name").max_length
COUNTERS = ("imported_wh", "exported_wh")
# The plug's states are names, which no recording has in common.
POINT_QUANTITIES = tuple(name for name in QUANTITIES if name != "plug_state")
# Of an interval: mean powers or energies, each direction by itself, or one mean with its sign.
INTERVAL_ONLY = ("imported_w", "exported_w", "import_energy_wh", "export_energy_wh")
QUANTITIES_OF_INTERVALS = (
    *INTERVAL_ONLY,
    *(name for name in POINT_QUANTITIES if name not in COUNTERS),
)
_DIRECTIONS = {
    "import": ("imported_w", "import_energy_wh", "power_w"),
    "export": ("exported_w", "export_energy_wh", "power_w"),
}
# What is said of an interval as a whole; any other quantity is of an instant.
FLOWS = (*INTERVAL_ONLY, "power_w")
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600}


class UnableToMap(Exception):
    """What was said of the columns does not fit together; the message says why."""


@dataclass(frozen=True)
class ColumnMapping:
    """A column of a wide recording: a quantity of an appliance, times `scale`."""

    column: str
    appliance: str
    quantity: str
    scale: float = 1.0


@dataclass(frozen=True)
class NewAppliance:
    """An appliance to make where the system has none of this name."""

    name: str
    kind: ApplianceKind


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of a recording mean.

    Without `mappings` it is a long one: a column `appliance`, and columns named like quantities;
    UUIDs in `appliance_id` and `system_id` go before what appliances are called.
    With `interval_s` its lines speak of intervals of this length, whose start (`label_end`: whose
    end) the instants name; without, a long one may have the length of each line's interval, from
    its start on, in the column `interval_s`. `zone` is that of instants without an offset.
    """

    mappings: tuple[ColumnMapping, ...] = ()
    time_column: str = "at"
    zone: ZoneInfo | None = None
    interval_s: int | None = None
    label_end: bool = False
    create: tuple[NewAppliance, ...] = ()

    def __post_init__(self) -> None:
        if self.interval_s is not None and not 1 <= self.interval_s <= LONGEST_INTERVAL_S:
            raise UnableToMap(_("An interval lasts between 1 second and 1 hour."))
        if self.label_end and self.interval_s is None:
            raise UnableToMap(_("Only intervals have a label; say how long they are."))
        for appliance in {mapping.appliance for mapping in self.mappings}:
            self.check_quantities(
                mapping.quantity for mapping in self.mappings if mapping.appliance == appliance
            )

    @property
    def quantities(self) -> tuple[str, ...]:
        """The quantities that columns of such a recording can be."""
        return POINT_QUANTITIES if self.interval_s is None else QUANTITIES_OF_INTERVALS

    def check_quantities(self, quantities: Iterable[str]) -> None:
        """Refuse what one appliance cannot have together. Raises UnableToMap."""
        given = set(quantities)
        for quantity in sorted(given - set(self.quantities)):
            if quantity in COUNTERS and self.interval_s is not None:
                raise UnableToMap(
                    _("The counter %(quantity)s is read at an instant: leave out the interval.")
                    % {"quantity": quantity}
                )
            if quantity in INTERVAL_ONLY:
                raise UnableToMap(
                    _("%(quantity)s is of an interval: say how long it is.")
                    % {"quantity": quantity}
                )
            raise UnableToMap(
                _("%(quantity)s is none of the quantities %(known)s.")
                % {"quantity": quantity, "known": ", ".join(self.quantities)}
            )
        if self.interval_s is not None:
            check_directions(given)


def check_directions(quantities: Iterable[str]) -> None:
    """Refuse quantities of an interval that say the same. Raises UnableToMap."""
    for alternatives in _DIRECTIONS.values():
        if len(named := sorted(set(quantities).intersection(alternatives))) > 1:
            raise UnableToMap(
                _("%(names)s say the same: keep one of them.") % {"names": ", ".join(named)}
            )


def parse_mapping(text: str) -> ColumnMapping:
    """`COLUMN=APPLIANCE:QUANTITY[:SCALE]`. Raises UnableToMap."""
    column, equals, rest = text.partition("=")
    parts = rest.rsplit(":", 2)
    scale = 1.0
    if len(parts) == 3 and _is_number(parts[2]):
        scale = float(parts[2])
    else:
        parts = rest.rsplit(":", 1)
    if not (equals and column.strip() and len(parts) >= 2 and all(part.strip() for part in parts)):
        raise UnableToMap(
            _("“%s” does not read COLUMN=APPLIANCE:QUANTITY or COLUMN=APPLIANCE:QUANTITY:SCALE.")
            % text
        )
    if scale == 0 or not np.isfinite(scale):
        raise UnableToMap(_("“%s”: the scale is neither 0 nor infinite.") % text)
    return ColumnMapping(column.strip(), parts[0].strip(), parts[1].strip(), scale)


def parse_new_appliance(text: str) -> NewAppliance:
    """`NAME:KIND`. Raises UnableToMap."""
    name, _colon, kind = (part.strip() for part in text.rpartition(":"))
    if not name or kind not in set(ApplianceKind):
        raise UnableToMap(
            _("“%(text)s” does not read NAME:KIND, with a kind of %(kinds)s.")
            % {"text": text, "kinds": ", ".join(ApplianceKind)}
        )
    if len(name) > LONGEST_NAME:
        raise UnableToMap(
            _("The name “%(name)s” has more than %(most)s characters.")
            % {"name": name, "most": LONGEST_NAME}
        )
    return NewAppliance(name, ApplianceKind(kind))


def parse_duration(text: str) -> int:
    """Seconds from `15m`, `30s`, `1h` or a number of seconds. Raises UnableToMap."""
    found = re.fullmatch(r"(\d+)\s*(s|m|min|h)?", text.strip())
    if not found:
        raise UnableToMap(_("“%s” is no interval such as 15m, 30s or 1h.") % text)
    return int(found[1]) * _UNITS_S[found[2] or "s"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def interval_values(
    columns: dict[str, np.ndarray], interval_s: np.ndarray
) -> dict[str, np.ndarray]:
    """What an interval's quantities (see `QUANTITIES_OF_INTERVALS`) are as columns of a batch.

    Mean powers become energies of the interval; a missing one stays missing. A power with a sign
    is a mean of both directions, which it nets.
    """
    hours = interval_s / 3600.0
    values = {name: column for name, column in columns.items() if name in POINT_QUANTITIES}
    power_w = values.pop("power_w", None)
    energies = {
        "import_energy_wh": [columns.get("import_energy_wh"), columns.get("imported_w")],
        "export_energy_wh": [columns.get("export_energy_wh"), columns.get("exported_w")],
    }
    for name, (energy_wh, mean_w) in energies.items():
        if mean_w is not None:
            energy_wh = mean_w * hours
        elif power_w is not None:
            sign = 1 if name == "import_energy_wh" else -1
            energy_wh = np.maximum(sign * power_w, 0) * hours
        if energy_wh is not None:
            values[name] = energy_wh
    known = ~np.logical_and.reduce(
        [np.isnan(values[name]) for name in energies if name in values] or [True]
    )
    if np.any(known):
        values["interval_s"] = np.where(known, interval_s, np.nan)
    return values


@dataclass(slots=True)
class _Trail:
    """How the instants of an appliance's lines went on so far: the last one, local and in seconds
    since the epoch, and whether they rise (1) or fall (-1); None before the second, 0 where they
    are in no order.

    The last one lies `step_s` seconds from the one before, and had so many `lines` until now; each
    one before it had `usual_lines`: None before the second, 0 where their numbers differ.
    """

    local: datetime
    at_s: float
    direction: int | None = None
    step_s: float = 0.0
    lines: int = 1
    usual_lines: int | None = None

    def go_on(self, local: datetime, at_s: float) -> None:
        if at_s == self.at_s:
            self.lines += 1
        else:
            direction = 1 if at_s > self.at_s else -1
            self.direction = direction if self.direction in (None, direction) else 0
            self.step_s = abs(at_s - self.at_s)
            self.usual_lines = self.lines if self.usual_lines in (None, self.lines) else 0
            self.lines = 1
        self.local, self.at_s = local, at_s


class Instants:
    """Reads a recording's instants, in the order of its lines.

    Of a local time that happens twice, when the clock is set back, that one is meant which goes on
    as the lines of the same appliance did so far, be they the oldest or the newest first, one or
    several of each instant.
    """

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone
        self._trails: dict[str, _Trail] = {}

    def read(self, cell: str | datetime, whose: str) -> int:
        """Milliseconds since the epoch. Raises ValueError, with the reason for people."""
        if isinstance(cell, str):
            try:
                at = datetime.fromisoformat(cell)
            except ValueError:
                raise ValueError(_("“%s” is no ISO 8601 instant") % cell) from None
        else:
            at = cell
        at_s = self._placed(at, whose) if at.tzinfo is None else at.timestamp()
        return round(at_s * 1000)

    def _placed(self, local: datetime, whose: str) -> float:
        if self._zone is None:
            raise ValueError(
                _("“%s” has no offset, and no time zone was given") % local.isoformat()
            )
        first = local.replace(tzinfo=self._zone)
        second = first.replace(fold=1)
        trail = self._trails.get(whose)
        if first.utcoffset() == second.utcoffset():
            at_s = first.timestamp()
        elif first.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != local:
            raise ValueError(
                _("“%(local)s” does not exist in %(zone)s: the clock was set forward")
                % {"local": local.isoformat(), "zone": self._zone.key}
            )
        elif (meant := _meant(local, first.timestamp(), second.timestamp(), trail)) is None:
            raise ValueError(
                _(
                    "“%(local)s” happens twice in %(zone)s, and the lines before it do not tell"
                    " which of the two is meant: give instants with their offset"
                )
                % {"local": local.isoformat(), "zone": self._zone.key}
            )
        else:
            at_s = meant
        if trail is None:
            self._trails[whose] = _Trail(local, at_s)
        else:
            trail.go_on(local, at_s)
        return at_s


def _meant(local: datetime, first_s: float, second_s: float, trail: _Trail | None) -> float | None:
    """Which of two instants of the same local time goes on with a trail; None where neither does,
    or it tells nothing."""
    if trail is None or trail.direction == 0:
        return None
    if local == trail.local:
        # Steps shorter than the clock's shift bring other local times before this one comes again;
        # with longer ones, only the number of lines tells the next instant from another quantity.
        if trail.step_s < second_s - first_s or trail.lines < (trail.usual_lines or 0):
            return trail.at_s
        if not trail.usual_lines:
            return None
    direction = trail.direction or (1 if trail.at_s < first_s else -1)
    in_order = (first_s, second_s) if direction == 1 else (second_s, first_s)
    return next((at_s for at_s in in_order if (at_s - trail.at_s) * direction > 0), None)
