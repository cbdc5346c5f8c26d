"""What a constraint that is tried out changes, and who loses by it."""

from datetime import UTC, datetime, timedelta

import pytest

from flexibility.effects import effect_of
from flexibility.queries import Span
from flexibility.resolver import Boundary

NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def one(identity, outcome="binding", against=(), **values):
    power = {"outcome": outcome, "conflicts_with": list(against)}
    return {"id": identity, "emitter": "local_user", "priority": 1, "power": power, **values}


def span(begin, end, *inputs, point_by=None, **boundary):
    deciders = {"set_point_w": point_by} if point_by else {}
    times = NOON + begin * HOUR, NOON + end * HOUR
    return Span(*times, Boundary(**boundary), deciders, inputs)


def hours(stretch):
    return (stretch.from_at - NOON) / HOUR, (stretch.until_at - NOON) / HOUR


def test_what_changes_is_told_once_however_the_spans_are_cut():
    before = [span(0, 4, max_w=22), span(4, 8, max_w=11)]
    after = [span(0, 2, max_w=22), span(2, 3, one("n"), max_w=7), span(3, 5, one("n"), max_w=7)]
    after.append(span(5, 8, max_w=11))
    effect = effect_of(before, after, new={"n"})
    assert [hours(change) for change in effect.changes] == [(2, 4), (4, 5)]
    assert effect.follows


def test_what_gives_way_says_to_whom_and_when():
    strong = one("s")
    after = [span(0, 1, one("n", "discarded", ["s"]), strong, min_w=9)]
    after.append(span(1, 2, one("n"), max_w=7))
    effect = effect_of([span(0, 2, strong)], after, new={"n"})
    [refusal] = effect.refusals
    assert hours(refusal) == (0, 1)
    assert refusal.against == (strong,)
    assert (effect.holds, effect.follows) == (True, False)


def test_energy_may_give_way_where_power_is_kept_to():
    told = {"outcome": "discarded", "conflicts_with": ["s"]}
    strong = one("s")
    after = [span(0, 2, one("n", energy=told, min_wh=12_000), strong, max_w=3, max_wh=10_000)]
    effect = effect_of([span(0, 2, strong)], after, new={"n"})
    [refusal] = effect.refusals
    assert (refusal.part, refusal.against, hours(refusal)) == ("energy", (strong,), (0, 2))
    assert (effect.holds, effect.follows) == (True, False)


def test_who_asks_for_energy_and_is_pushed_aside_loses():
    kept = {"outcome": "binding", "conflicts_with": []}
    lost = {"outcome": "discarded", "conflicts_with": ["n"]}
    before = [span(0, 2, one("weak", energy=kept))]
    after = [span(0, 2, one("n"), one("weak", energy=lost))]
    [loss] = effect_of(before, after, new={"n"}).losses
    assert (loss.loser["id"], hours(loss), loss.energy_wh) == ("weak", (0, 2), None)


def test_who_is_pushed_aside_loses():
    before = [span(0, 2, one("weak"), min_w=6)]
    after = [span(0, 2, one("n"), one("weak", "discarded", ["n"]), max_w=4)]
    [loss] = effect_of(before, after, new={"n"}).losses
    assert loss.loser["id"] == "weak"
    assert hours(loss) == (0, 2)
    assert loss.energy_wh is None


@pytest.mark.parametrize(
    ("was_w", "is_w", "lost_wh"), [(11_000, 7_000, 8_000), (7_000, 11_000, None)]
)
def test_a_set_point_that_gets_less_of_what_it_asks_for_loses_energy(was_w, is_w, lost_wh):
    wish = one("wish", set_point_w=22_000, closest=True)
    before = [span(0, 2, wish, point_by="wish", set_point_w=was_w)]
    after = [span(0, 2, wish, one("n"), point_by="wish", set_point_w=is_w)]
    losses = effect_of(before, after, new={"n"}).losses
    assert [loss.energy_wh for loss in losses] == ([] if lost_wh is None else [lost_wh])


def test_losses_of_several_at_the_same_time_stay_whole():
    kept = [one("x"), one("y")]
    lost = [one("x", "discarded", ["n"]), one("y", "discarded", ["n"])]
    after = [span(hour, hour + 1, one("n"), *lost, max_w=hour) for hour in range(3)]
    losses = effect_of([span(0, 3, *kept)], after, new={"n"}).losses
    assert [(loss.loser["id"], hours(loss)) for loss in losses] == [("x", (0, 3)), ("y", (0, 3))]


def test_a_bent_set_point_says_what_it_gets():
    new = one("n", set_point_w=9_000)
    effect = effect_of([span(0, 1)], [span(0, 1, new, set_point_w=4_000)], new={"n"})
    assert effect.bent_w == 4_000


def test_nothing_tried_out_changes_nothing():
    spans = [span(0, 1, one("a"), max_w=1)]
    effect = effect_of(spans, spans, new=())
    assert (effect.changes, effect.refusals, effect.losses) == ((), (), ())
