"""What to know about a figure beside how much of it was seen. Pure."""

from enum import IntEnum


class Flag(IntEnum):
    """Bits, joined by OR, as they are stored beside every figure."""

    ESTIMATED = 1  # spread evenly over a pause of a counter
    RECOVERED = 2  # of readings that arrived late
    RESET = 4  # a counter began anew
    IMPLAUSIBLE = 8  # a reading was dropped, held back or beyond the stated power


def flagged_seconds(expected_s: str) -> dict[str, str]:
    """SQL of how much of a slot arrived late, and how much of it was bridged.

    `expected_s` is SQL of how much there was to see. A flag is of all that was seen in a slot, or
    of all that was not; of a longer span it holds for as much as its slots have of it, added up.
    """
    return {
        "recovered_s": f"CASE WHEN flags & {Flag.RECOVERED:d} > 0 THEN seen_s ELSE 0 END",
        "estimated_s": f"CASE WHEN flags & {Flag.ESTIMATED:d} > 0"
        f" THEN greatest({expected_s} - seen_s, 0) ELSE 0 END",
    }


def names_of(bits: int) -> list[str]:
    """The names of the flags in these bits, in order."""
    return [flag.name for flag in Flag if bits & flag]
