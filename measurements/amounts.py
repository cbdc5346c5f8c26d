"""Columns of whole numbers that may be absent: what slots and figures are made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MWH_PER_KWH = 1_000_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """Integers (mWh or mW), one a slot; where not `present` there is no statement (None).

    `values` is 0 wherever `present` is False, so that sums need no mask.
    """

    values: Ints
    present: Bools

    @classmethod
    def of(cls, values: Ints, present: Bools) -> "Amounts":
        """Amounts of values that may hold anything where they are absent."""
        return cls(np.where(present, values, 0), present)

    @classmethod
    def absent(cls, length: int) -> "Amounts":
        """No statement at all."""
        return cls(np.zeros(length, np.int64), np.zeros(length, np.bool_))

    @classmethod
    def of_list(cls, values: Sequence[int | None]) -> "Amounts":
        """Amounts of whole numbers and None, as a database gives them."""
        present = np.array([value is not None for value in values], np.bool_)
        return cls(np.array([value or 0 for value in values], np.int64), present)

    @classmethod
    def of_floats(cls, values: Floats) -> "Amounts":
        """Amounts of whole numbers as floats, up to 2**53; NaN where absent."""
        present = ~np.isnan(values)
        return cls(np.where(present, values, 0).astype(np.int64), present)

    @classmethod
    def total(cls, parts: Iterable["Amounts"], length: int) -> "Amounts":
        """The sum; what is absent in some parts and present in others is the sum of those."""
        sums, present = np.zeros(length, np.int64), np.zeros(length, np.bool_)
        for part in parts:
            sums, present = sums + part.values, present | part.present
        return cls(sums, present)

    @classmethod
    def joined(cls, parts: Sequence["Amounts"]) -> "Amounts":
        """One after the other."""
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.present for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.values)

    def where(self, mask: Bools) -> "Amounts":
        """The same, absent where the mask is False."""
        return Amounts.of(self.values, self.present & mask)

    def to_list(self) -> list[int | None]:
        """Whole numbers and None, as a database takes them."""
        values = self.values.tolist()
        if self.present.all():
            return values
        return [v if p else None for v, p in zip(values, self.present.tolist(), strict=True)]


def floats_to_list(values: Floats) -> list[float | None]:
    """Floats with None for NaN."""
    absent = np.isnan(values)
    if not absent.any():
        return values.tolist()
    return [None if n else v for v, n in zip(values.tolist(), absent.tolist(), strict=True)]


def share_of(part: float, whole: float) -> float | None:
    """At most 1; None of nothing."""
    return min(part / whole, 1.0) if whole > 0 else None


def sum_known(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def difference_known(value: float | None, other: float | None) -> float | None:
    """The difference, with 0 for what is not known; None where neither is."""
    return None if value is None and other is None else (value or 0) - (other or 0)
