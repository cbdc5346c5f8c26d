"""What to know about a figure beside how much of it was seen. Pure."""

from enum import IntEnum


class Flag(IntEnum):
    """Bits, joined by OR, as they are stored beside every figure."""

    ESTIMATED = 1  # spread evenly over a pause of a counter
    RECOVERED = 2  # of readings that arrived late
    RESET = 4  # a counter began anew
    IMPLAUSIBLE = 8  # a reading was held back


def names_of(bits: int) -> list[str]:
    """The names of the flags in these bits, in order."""
    return [flag.name for flag in Flag if bits & flag]
