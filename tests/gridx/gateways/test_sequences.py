import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridx.gateways.sequences import MOST_HOLES, RESTART_DISTANCE, Sequence

NUMBERS = st.lists(st.integers(min_value=0, max_value=200), min_size=1, max_size=60)


@given(NUMBERS, st.randoms())
def test_the_order_of_arrival_after_the_first_does_not_matter(numbers, random):
    first, rest = min(numbers), list(numbers)
    expected = max(rest) - first + 1 - len(set(rest))
    random.shuffle(rest)
    sequence = Sequence().seen([first])
    for number in rest:
        sequence = sequence.seen([number])
    assert (sequence.last, sequence.missing) == (max(numbers), expected)
    assert sum(last - first + 1 for first, last in sequence.holes) == expected


@given(NUMBERS)
def test_seeing_numbers_again_changes_nothing(numbers):
    sequence = Sequence().seen(numbers)
    assert sequence.seen(numbers) == sequence


@pytest.mark.parametrize(
    ("numbers", "missing", "holes"),
    [
        ([5], 0, ()),
        ([5, 6, 7], 0, ()),
        ([5, 9], 3, ((6, 8),)),
        ([5, 9, 7], 2, ((6, 6), (8, 8))),
        ([5, 9, 6, 7, 8], 0, ()),
        # A gateway's first message says where it begins.
        ([5, 3], 0, ()),
    ],
)
def test_holes_show_until_they_are_filled(numbers, missing, holes):
    sequence = Sequence()
    for number in numbers:
        sequence = sequence.seen([number])
    assert (sequence.missing, sequence.holes) == (missing, holes)


def test_a_gateway_that_counts_from_the_start_again_misses_nothing():
    sequence = Sequence(last=RESTART_DISTANCE + 50, missing=3).seen([0, 1, 2])
    assert sequence == Sequence(last=2, missing=3)


def test_a_gateway_that_does_so_within_a_batch_misses_nothing_either():
    last = 2 * RESTART_DISTANCE
    before, after = range(last + 1, last + 31), range(1, 31)
    sequence = Sequence(last, missing=3).seen([*before, *after])
    assert sequence == Sequence(last=30, missing=3)


def test_what_it_misses_on_both_sides_is_missing():
    last = 2 * RESTART_DISTANCE
    sequence = Sequence(last).seen([last + 1, last + 4, 1, 2, 5])
    assert sequence == Sequence(last=5, missing=4, holes=((3, 4),))


def test_holes_beyond_the_number_remembered_stay_missing():
    sequence = Sequence(last=0).seen(range(2, 2 * MOST_HOLES + 10, 2))
    assert len(sequence.holes) == MOST_HOLES
    assert sequence.missing == MOST_HOLES + 4
    assert sequence.seen([1]).missing == sequence.missing
