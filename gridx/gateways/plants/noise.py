"""Randomness that is a function of a seed and an instant, so that it is the same at any step.

A counter-based generator (splitmix64, Steele et al. 2014) hashes grid points; between them the
value is interpolated ("value noise"). Nothing is drawn in sequence, so nothing depends on where
a simulation started.
"""

import numpy as np

from gridx.gateways.plants.span import Floats, Ints

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SEED_STEP = 0xD1342543DE82EF95
_MASK = (1 << 64) - 1


def uniform(seed: int, points: Ints) -> Floats:
    """For each whole number its own value in [0, 1)."""
    with np.errstate(over="ignore"):
        mixed = points.astype(np.uint64) * _GOLDEN + np.uint64((seed * _SEED_STEP) & _MASK)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def normal(seed: int, points: Ints) -> Floats:
    """For each whole number its own value, nearly normal: mean 0, deviation 1, within ±3.5."""
    parts = [uniform(seed * 4 + part, points) for part in range(4)]
    return (sum(parts) - 2.0) * np.sqrt(3.0)


def smooth(seed: int, instants: Ints, period_s: float) -> Floats:
    """A curve in [0, 1) through a random value every `period_s`, without steps or kinks."""
    position = instants / (period_s * 1000.0)
    before = np.floor(position)
    share = position - before
    share = share * share * (3.0 - 2.0 * share)
    point = before.astype(np.int64)
    values = uniform(seed, np.concatenate((point, point + 1)))
    first, second = values[: len(point)], values[len(point) :]
    return first + (second - first) * share


def derive(seed: int, name: str) -> int:
    """Another seed for a named part of the same thing."""
    value = seed & _MASK
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value
