"""Readings of many appliances in columns, on their way into the database. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

# What may be read at one instant.
QUANTITIES = (
    "power_w",
    "imported_wh",
    "exported_wh",
    "soc",
    "energy_wh",
    "temperature_c",
    "current_l1_a",
    "current_l2_a",
    "current_l3_a",
    "plug_state",
)
# By quantity, what the instant of the latest one is called: `soc_at`, `power_at`.
INSTANTS = {name: re.sub("_(w|wh|c|a)$", "", name) + "_at" for name in QUANTITIES}
# What an interval reading says of [at, at + interval_s).
INTERVAL_QUANTITIES = ("interval_s", "import_energy_wh", "export_energy_wh")
COLUMNS = QUANTITIES + INTERVAL_QUANTITIES


@dataclass(frozen=True, eq=False)
class Batch:
    """n readings, each of one appliance at one instant.

    `system_key`, `appliance_key` (int32) and `at_ms` (int64, milliseconds since the epoch, UTC)
    have shape (n,), and so has each of `values` (float64; units as in the name, signs of the
    passive convention). NaN means “not read”; a column that is absent was read by nobody.
    The order of the rows is the order of arrival.
    """

    system_key: np.ndarray
    appliance_key: np.ndarray
    at_ms: np.ndarray
    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, *, system_key, appliance_key, at_ms, **values) -> Self:
        """A batch from arrays, lists or single numbers (which count for every row).

        In lists of a quantity, None means “not read”, as NaN does in arrays; a NaN that somebody
        sent as a value is passed as infinity, which is refused. Raises ValueError for an unknown
        quantity and where the lengths differ.
        """
        if unknown := values.keys() - set(COLUMNS):
            raise ValueError(f"Not quantities of a reading: {', '.join(sorted(unknown))}")
        at_ms = np.atleast_1d(np.asarray(at_ms, dtype=np.int64))

        def column(given, dtype) -> np.ndarray:
            return np.broadcast_to(np.asarray(given, dtype=dtype), at_ms.shape)

        return cls(
            system_key=column(system_key, np.int32),
            appliance_key=column(appliance_key, np.int32),
            at_ms=at_ms,
            values={name: column(given, np.float64) for name, given in values.items()},
        )

    @classmethod
    def joined(cls, batches: Iterable[Self]) -> Self:
        """All rows of the batches, one after the other."""
        batches = list(batches)
        if not batches:
            return cls.of(system_key=0, appliance_key=0, at_ms=[])
        names = dict.fromkeys(name for batch in batches for name in batch.values)
        return cls(
            system_key=np.concatenate([batch.system_key for batch in batches]),
            appliance_key=np.concatenate([batch.appliance_key for batch in batches]),
            at_ms=np.concatenate([batch.at_ms for batch in batches]),
            values={
                name: np.concatenate([batch.column(name) for batch in batches]) for name in names
            },
        )

    def __len__(self) -> int:
        return len(self.at_ms)

    def column(self, name: str) -> np.ndarray:
        """A quantity of every row; NaN throughout when nobody read it."""
        found = self.values.get(name)
        return np.full(len(self), np.nan) if found is None else found

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these positions (or where a mask is true), in this order."""
        return type(self)(
            system_key=self.system_key[rows],
            appliance_key=self.appliance_key[rows],
            at_ms=self.at_ms[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )

    def settled(self) -> Self:
        """Sorted by system, appliance and instant, each of them once.

        Rows of the same appliance and instant become one, as if they had been stored one after
        the other: of each quantity the last that was read counts; a later interval of another
        length takes the place of the earlier one with its energies.
        """
        batch = self.take(np.lexsort((self.at_ms, self.appliance_key, self.system_key)))
        starts = np.flatnonzero(batch._differs(batch.system_key, batch.appliance_key, batch.at_ms))
        if len(starts) == len(batch):
            return batch
        groups = Groups(starts, len(batch))
        values = dict(batch.values)
        if "interval_s" in values:
            lasting = np.repeat(groups.last_known(values["interval_s"])[0], groups.sizes)
            # Up to the last row with another interval, energies are of an interval that went.
            other = np.where(values["interval_s"] != lasting, values["interval_s"], np.nan)
            replaced = np.arange(len(batch)) <= np.repeat(groups.last_known(other)[1], groups.sizes)
            for name in ("import_energy_wh", "export_energy_wh"):
                if name in values:
                    values[name] = np.where(replaced, np.nan, values[name])
        return type(self)(
            system_key=batch.system_key[starts],
            appliance_key=batch.appliance_key[starts],
            at_ms=batch.at_ms[starts],
            values={name: groups.last_known(column)[0] for name, column in values.items()},
        )

    def newest(self) -> Self:
        """Those rows of a settled batch in which a quantity of an appliance was read last."""
        if not len(self):
            return self
        runs, rows = self.by_appliance(), np.zeros(len(self), dtype=bool)
        for name in self.values.keys() & set(QUANTITIES):
            _values, last = runs.last_known(self.values[name])
            rows[last[last >= 0]] = True
        return self.take(rows)

    def by_appliance(self) -> "Groups":
        """The runs of rows of one appliance in a settled batch."""
        return Groups(np.flatnonzero(self._differs(self.system_key, self.appliance_key)), len(self))

    def _differs(self, *columns: np.ndarray) -> np.ndarray:
        """Where a row differs from the one before; the first row always does."""
        first = np.ones(len(self), dtype=bool)
        if len(self):
            first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        return first


@dataclass(frozen=True, eq=False)
class Groups:
    """Runs of rows that begin at the positions `starts` (ascending, the first is 0) of `length`."""

    starts: np.ndarray
    length: int

    @property
    def ends(self) -> np.ndarray:
        return np.append(self.starts[1:], self.length)

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.starts, append=self.length)

    def last_known(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each run's last value that is not NaN, and its position.

        NaN and -1 where the run has none.
        """
        known = np.where(np.isnan(column), -1, np.arange(self.length))
        last = np.maximum.accumulate(known)[self.ends - 1]
        last = np.where(last >= self.starts, last, -1)
        return np.where(last >= 0, column[last], np.nan), last
