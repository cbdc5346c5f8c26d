from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flexibility.policies.charging import ask
from flexibility.policies.departures import plan_departure
from flexibility.policies.sharing import split_surplus, surplus_w
from flexibility.policies.terms import (
    DEFAULTS,
    MISSED_WH,
    NEGLIGIBLE_WH,
    Demand,
    Departure,
    Mode,
    Reading,
    Room,
    Site,
    State,
    Station,
    Tuning,
    Why,
)

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
STATION = Station(key="a", min_w=4_140, max_w=11_000)


def read(power_w, at=NOON):
    return Reading(at, power_w)


def site_with(surplus, *, drawn=0.0, at=NOON):
    """A site whose meter shows what is left of a surplus of which stations draw so much."""
    return Site(meter=read(drawn - surplus, at))


def ask_one(mode, surplus=None, *, at=NOON, state=None, station=STATION, **more):
    """What one station that draws nothing is asked for, with no reading of the meter for None."""
    site = Site() if surplus is None else site_with(surplus, at=at)
    demand = Demand(station=station, mode=mode, state=state, **more)
    (answer,) = ask([demand], site, now=at)
    return answer


class Day:
    """One station or several under one mode, asked again and again, drawing what they may.

    The meter shows at each step what the stations drew since the step before.
    """

    def __init__(self, mode, *stations, tuning=DEFAULTS):
        self.stations = {station.key: station for station in stations or (STATION,)}
        self.mode, self.tuning = mode, tuning
        self.now, self.states = NOON, {}
        self.drawn = dict.fromkeys(self.stations, 0.0)

    def step(self, surplus, after=timedelta(seconds=30)):
        """Ask with a surplus in W; the wishes by station."""
        self.now += after
        demands = [
            Demand(
                station=replace(station, power=read(self.drawn[key], self.now)),
                mode=self.mode,
                state=self.states.get(key),
            )
            for key, station in self.stations.items()
        ]
        site = site_with(surplus, drawn=sum(self.drawn.values()), at=self.now)
        answers = ask(demands, site, now=self.now, tuning=self.tuning)
        self.states = {answer.key: answer.state for answer in answers}
        self.drawn = {answer.key: answer.wish.asks.max_w for answer in answers}
        return {answer.key: answer.wish for answer in answers}

    def limits(self, *surpluses, after=timedelta(seconds=30)):
        """The limits of the only station, step by step."""
        return [next(iter(self.step(each, after).values())).asks.max_w for each in surpluses]


# What does not look at the sun


def test_charging_now_asks_for_full_power_or_as_close_as_allowed():
    wish = ask_one(Mode.FORCED).wish
    assert wish.asks == (None, None, 11_000, True)
    assert wish.reason.why is Why.FORCED


def test_off_asks_for_a_set_point_of_0_which_does_not_bend():
    wish = ask_one(Mode.OFF, 9_000).wish
    assert wish.asks == (None, None, 0, False)
    assert wish.reason.why is Why.OFF


def test_what_follows_from_readings_expires_soon_and_what_does_not_expires_late():
    assert ask_one(Mode.SURPLUS, 0).wish.invalid_at == NOON + timedelta(minutes=15)
    assert ask_one(Mode.MINIMUM_AND_SURPLUS, 0).wish.invalid_at == NOON + timedelta(minutes=15)
    for mode in (Mode.FORCED, Mode.OFF):
        assert ask_one(mode).wish.invalid_at == NOON + timedelta(days=400)


def test_a_wish_does_not_outlast_its_policy():
    for mode in (Mode.FORCED, Mode.SURPLUS):
        assert ask_one(mode, 0, until=NOON + MINUTE).wish.invalid_at == NOON + MINUTE
        with pytest.raises(ValueError, match="has ended"):
            ask_one(mode, 0, until=NOON)


# The surplus


@pytest.mark.parametrize(
    ("meter", "drawn", "batteries", "battery_yields", "surplus"),
    [
        pytest.param(-3_000, [0], [], False, 3_000, id="what is fed in"),
        pytest.param(2_000, [0], [], False, -2_000, id="a lack"),
        pytest.param(-500, [4_500], [], False, 5_000, id="what the station draws counts back"),
        pytest.param(1_000, [4_000, 4_000], [], False, 7_000, id="of all who share it"),
        pytest.param(-500, [None], [], False, 500, id="nothing of one that was not read"),
        pytest.param(-500, [0], [2_000], False, 500, id="the battery keeps what it takes"),
        pytest.param(-500, [0], [2_000], True, 2_500, id="unless it is asked to yield"),
        pytest.param(0, [3_000], [-3_000], False, 0, id="what the battery gives is no sunshine"),
        pytest.param(0, [3_000], [-3_000], True, 0, id="and never is"),
        pytest.param(0, [3_000], [-2_000, 2_000], False, 3_000, id="batteries among themselves"),
        pytest.param(-3_000, [-3_000], [], False, 0, id="what the car gives is none either"),
        pytest.param(None, [0], [], False, None, id="an unread meter"),
        pytest.param(-3_000, [0], [None], False, None, id="an unread battery"),
    ],
)
def test_what_the_surplus_is(meter, drawn, batteries, battery_yields, surplus):
    stations = [Station(key=str(index), power=read(power)) for index, power in enumerate(drawn)]
    site = Site(read(meter), tuple(read(power) for power in batteries))
    tuning = Tuning(battery_yields=battery_yields)
    assert surplus_w(site, stations, now=NOON, tuning=tuning) == surplus


def test_old_readings_say_nothing():
    old, fresh = read(-3_000, NOON - timedelta(seconds=121)), read(-3_000, NOON - 2 * MINUTE)
    assert surplus_w(Site(old), [], now=NOON) is None
    assert surplus_w(Site(fresh), [], now=NOON) == 3_000
    assert surplus_w(Site(fresh, (old,)), [], now=NOON) is None
    assert surplus_w(Site(), [], now=NOON) is None
    assert surplus_w(Site(read(-3_000, NOON + HOUR)), [], now=NOON) is None  # its clock is wrong
    assert surplus_w(Site(fresh), [Station(key="a", power=old)], now=NOON) == 3_000


# Surplus


def test_a_station_starts_once_the_surplus_has_been_enough_for_a_minute():
    assert Day(Mode.SURPLUS).limits(5_000, 5_000, 5_000) == [0, 0, 5_000]


def test_a_cloud_while_it_waits_makes_it_wait_anew():
    assert Day(Mode.SURPLUS).limits(5_000, 5_000, 4_000, 5_000, 5_000, 5_000) == [0] * 5 + [5_000]


def test_it_stays_at_its_minimum_for_three_minutes_and_then_stops():
    day = Day(Mode.SURPLUS)
    day.limits(5_000, 5_000, 5_000)
    assert day.limits(*[1_000] * 7) == [4_140] * 6 + [0]


def test_the_sun_comes_back_in_time():
    day = Day(Mode.SURPLUS)
    day.limits(5_000, 5_000, 5_000)
    assert day.limits(1_000, 1_000, 6_000, *[1_000] * 6) == [4_140, 4_140, 6_000, *[4_140] * 6]


def test_reasons_follow_the_sun_and_say_when_something_is_due():
    day = Day(Mode.SURPLUS)
    reasons = [day.step(each)["a"].reason for each in (100, 5_000, 5_000, 5_000, 100)]
    assert [reason.why for reason in reasons] == [
        Why.TOO_LITTLE,
        Why.STARTING,
        Why.STARTING,
        Why.SURPLUS,
        Why.HOLDING,
    ]
    assert reasons[1].until == NOON + timedelta(seconds=60 + 60)
    assert reasons[4].until == NOON + timedelta(seconds=150 + 180)
    assert [reason.surplus_w for reason in reasons] == [100, 5_000, 5_000, 5_000, 100]
    assert [reason.share_w for reason in reasons] == [0, 0, 0, 5_000, 4_140]


def test_an_unknown_surplus_is_none():
    wish = ask_one(Mode.SURPLUS).wish
    assert (wish.asks.max_w, wish.reason.why, wish.reason.surplus_w) == (0, Why.UNKNOWN, None)
    running = State(NOON, running=True, told_w=6_000)
    held = ask_one(Mode.SURPLUS, state=running)
    assert (held.wish.asks.max_w, held.wish.reason.why) == (4_140, Why.HOLDING)
    later = NOON + timedelta(seconds=180)
    assert ask_one(Mode.SURPLUS, state=held.state, at=later).wish.asks.max_w == 0


def test_a_limit_says_nothing_of_a_minimum_or_set_point():
    wish = ask_one(Mode.SURPLUS, 5_000, state=State(NOON, running=True)).wish
    assert wish.asks == (None, 5_000, None, False)


def test_a_station_that_charges_already_is_taken_as_it_is_found():
    charging = replace(STATION, power=read(9_000))
    assert ask_one(Mode.SURPLUS, -9_000, station=charging).wish.reason.why is Why.HOLDING
    idle = replace(STATION, power=read(20))
    assert ask_one(Mode.SURPLUS, 9_000, station=idle).wish.reason.why is Why.STARTING


def test_what_was_known_before_a_long_pause_counts_no_more():
    old = State(NOON - timedelta(minutes=16), since=NOON - timedelta(minutes=16))
    assert ask_one(Mode.SURPLUS, 9_000, state=old).wish.reason.why is Why.STARTING
    late = replace(old, at=NOON - timedelta(minutes=14))
    assert ask_one(Mode.SURPLUS, 9_000, state=late).wish.asks.max_w == 9_000


def test_a_station_without_a_car_pauses_and_leaves_its_share_to_others():
    empty, other = replace(STATION, plugged=False), replace(STATION, key="b")
    running = State(NOON, running=True)
    demands = [
        Demand(station=station, mode=Mode.SURPLUS, state=running) for station in (empty, other)
    ]
    first, second = ask(demands, site_with(5_000), now=NOON)
    assert (first.wish.asks.max_w, first.wish.reason.why) == (0, Why.UNPLUGGED)
    assert second.wish.asks.max_w == 5_000


@pytest.mark.parametrize(
    ("surplus", "limit"),
    [
        pytest.param(6_000, 6_000, id="nothing changed"),
        pytest.param(6_219, 6_000, id="hardly more"),
        pytest.param(6_221, 6_200, id="more"),
        pytest.param(5_999, 5_900, id="less, by a whole step"),
        pytest.param(5_901, 5_900, id="as much less"),
        pytest.param(4_150, 4_140, id="the minimum is no step"),
        pytest.param(20_000, 11_000, id="the maximum"),
    ],
)
def test_limits_change_in_steps_and_up_only_where_it_is_worth_it(surplus, limit):
    running = State(NOON, running=True, told_w=6_000)
    assert ask_one(Mode.SURPLUS, surplus, state=running).wish.asks.max_w == limit


def test_for_much_power_two_in_a_hundred_are_little():
    station = replace(STATION, max_w=22_000)
    running = State(NOON, running=True, told_w=20_000)
    for surplus, limit in [(20_499, 20_000), (20_500, 20_500)]:
        answer = ask_one(Mode.SURPLUS, surplus, state=running, station=station)
        assert answer.wish.asks.max_w == limit


def test_the_maximum_is_no_step():
    running, station = State(NOON, running=True), replace(STATION, max_w=11_040)
    assert ask_one(Mode.SURPLUS, 12_000, state=running, station=station).wish.asks.max_w == 11_040


def test_the_last_bit_up_to_the_maximum_is_taken_where_there_is_plenty():
    running = State(NOON, running=True, told_w=10_900)
    assert ask_one(Mode.SURPLUS, 11_050, state=running).wish.asks.max_w == 10_900
    assert ask_one(Mode.SURPLUS, 12_000, state=running).wish.asks.max_w == 11_000


def test_a_surplus_that_trembles_is_told_once():
    day = Day(Mode.SURPLUS)
    day.limits(6_000, 6_000, 6_000)
    assert set(day.limits(*[5_960, 6_040, 5_990, 6_060] * 5)) == {5_900}


def test_a_station_that_was_forced_is_held_before_it_pauses():
    forced = ask_one(Mode.FORCED).state
    assert ask_one(Mode.SURPLUS, 0, state=forced).wish.reason.why is Why.HOLDING
    off = ask_one(Mode.OFF).state
    assert ask_one(Mode.SURPLUS, 0, state=off).wish.reason.why is Why.TOO_LITTLE


# Minimum and surplus


@pytest.mark.parametrize(
    ("surplus", "limit", "why"),
    [
        pytest.param(None, 4_140, Why.MINIMUM, id="unknown"),
        pytest.param(-3_000, 4_140, Why.MINIMUM, id="a lack"),
        pytest.param(4_000, 4_140, Why.MINIMUM, id="less than the minimum"),
        pytest.param(7_250, 7_200, Why.SURPLUS, id="more than it"),
        pytest.param(30_000, 11_000, Why.SURPLUS, id="more than it can take"),
    ],
)
def test_with_a_minimum_it_charges_at_once_and_always(surplus, limit, why):
    wish = ask_one(Mode.MINIMUM_AND_SURPLUS, surplus).wish
    assert wish.asks == (4_140, limit, None, False)
    assert wish.reason.why is why


def test_a_minimum_does_not_depend_on_a_car():
    wish = ask_one(Mode.MINIMUM_AND_SURPLUS, 9_000, station=replace(STATION, plugged=False)).wish
    assert wish.asks == (4_140, 4_140, None, False)


# Several stations


@pytest.mark.parametrize(
    ("surplus", "shares"),
    [
        pytest.param(-100, (0, 0, 0), id="nothing"),
        pytest.param(1_379, (0, 0, 0), id="not even the smallest minimum"),
        pytest.param(1_400, (0, 0, 1_400), id="the smallest, as the others cannot"),
        pytest.param(4_140, (4_140, 0, 0), id="the first before the smallest"),
        pytest.param(6_000, (4_380, 0, 1_620), id="minima, and the rest equally"),
        pytest.param(9_660, (4_140, 4_140, 1_380), id="just all minima"),
        pytest.param(15_660, (6_140, 6_140, 3_380), id="much"),
        pytest.param(17_000, (6_650, 6_650, 3_700), id="the smallest is full"),
        pytest.param(90_000, (11_000, 11_000, 3_700), id="all are full"),
    ],
)
def test_how_a_surplus_is_split(surplus, shares):
    stations = [
        Station(key="a", min_w=4_140, max_w=11_000),
        Station(key="b", min_w=4_140, max_w=11_000),
        Station(key="c", min_w=1_380, max_w=3_700),
    ]
    assert split_surplus(surplus, stations) == pytest.approx(shares)


def pair(mode=Mode.SURPLUS):
    return Day(mode, STATION, replace(STATION, key="b"))


def limits_of(wishes):
    return [wish.asks.max_w for wish in wishes.values()]


def test_two_stations_start_together_and_share_equally():
    day = pair()
    assert [limits_of(day.step(10_000)) for _ in range(3)] == [[0, 0], [0, 0], [5_000, 5_000]]


def test_while_one_is_held_the_other_has_that_much_less():
    day = pair()
    for _ in range(3):
        day.step(10_000)
    steps = [limits_of(day.step(7_000)) for _ in range(8)]
    assert steps[0] == steps[5] == [4_140, 4_140]
    assert steps[6] == steps[7] == [7_000, 0]


def test_what_one_waits_for_the_other_uses_meanwhile():
    day = pair()
    for _ in range(3):
        day.step(6_000)
    assert limits_of(day.step(9_000)) == [9_000, 0]
    day.step(9_000)
    assert limits_of(day.step(9_000)) == [4_500, 4_500]


def test_what_others_need_for_certain_comes_first():
    running = State(NOON, running=True)
    demands = [
        Demand(station=STATION, mode=Mode.SURPLUS, state=running),
        Demand(station=replace(STATION, key="b"), mode=Mode.MINIMUM_AND_SURPLUS),
    ]
    first, second = ask(demands, site_with(8_000), now=NOON)
    assert first.wish.reason.why is Why.HOLDING
    first, second = ask(demands, site_with(9_000), now=NOON)
    assert (first.wish.reason.why, first.wish.asks.max_w) == (Why.SURPLUS, 4_500)
    assert second.wish.asks == (4_140, 4_500, None, False)


def test_a_station_that_is_forced_is_a_load_like_any_other():
    demands = [
        Demand(station=replace(STATION, power=read(11_000)), mode=Mode.FORCED),
        Demand(
            station=replace(STATION, key="b"), mode=Mode.SURPLUS, state=State(NOON, running=True)
        ),
    ]
    forced, other = ask(demands, Site(read(-5_000)), now=NOON)
    assert (forced.wish.asks.set_point_w, other.wish.asks.max_w) == (11_000, 5_000)


@pytest.mark.parametrize(
    "departure",
    [
        pytest.param(Departure(50_000, NOON + HOUR), id="late"),
        pytest.param(Departure(8_000, NOON + HOUR, charged_wh=8_000), id="at its goal"),
    ],
)
def test_so_is_one_whose_departure_wants_nothing_of_the_sun(departure):
    hurried = replace(STATION, power=read(11_000))
    demands = [
        Demand(station=hurried, mode=Mode.DEPARTURE, departure=departure),
        Demand(
            station=replace(STATION, key="b"), mode=Mode.SURPLUS, state=State(NOON, running=True)
        ),
    ]
    assert ask(demands, Site(read(-5_000)), now=NOON)[1].wish.asks.max_w == 5_000


def test_a_station_is_under_one_policy_only():
    demand = Demand(station=STATION, mode=Mode.OFF)
    with pytest.raises(ValueError, match="one policy"):
        ask([demand, demand], Site(), now=NOON)


# Departure


def departing(energy_wh, hours, *, charged_wh=0.0):
    return Departure(energy_wh, NOON + timedelta(hours=hours), charged_wh)


def ask_departing(departure, surplus=None, **more):
    return ask_one(Mode.DEPARTURE, surplus, departure=departure, **more)


def test_with_time_to_spare_and_no_sun_it_waits_and_says_until_when():
    wish = ask_departing(departing(8_280, 10), 0).wish
    assert wish.asks == (None, 0, None, False)
    assert wish.reason.why is Why.TOO_LITTLE
    assert wish.reason.until == NOON + 8 * HOUR - timedelta(minutes=5)
    assert wish.reason.needed_w == pytest.approx(8_280 / (10 - 1 / 12))


def test_with_time_to_spare_and_sun_it_charges_from_the_sun():
    running = State(NOON, running=True)
    wish = ask_departing(departing(8_280, 10), 6_000, state=running).wish
    assert wish.asks == (None, 6_000, None, False)
    assert wish.reason.why is Why.SURPLUS


def test_without_time_to_spare_it_charges_with_the_least_constant_power():
    wish = ask_departing(departing(50_000, 10), 0).wish
    assert wish.asks == (5_100, 5_100, None, False)
    assert wish.reason.why is Why.STEADY
    assert (wish.reason.needed_w, wish.reason.left_wh) == (pytest.approx(5_042, abs=1), 50_000)


def test_and_with_more_where_there_is_sun():
    wish = ask_departing(departing(50_000, 10), 8_000).wish
    assert wish.asks == (5_100, 8_000, None, False)
    assert wish.reason.why is Why.SURPLUS


def test_when_it_is_late_it_charges_at_full_power():
    wish = ask_departing(departing(10_990, 1)).wish
    assert wish.asks == (None, None, 11_000, True)
    assert (wish.reason.why, wish.reason.missing_wh) == (Why.LATE, 0)


def test_it_says_at_once_what_cannot_be_reached_by_how_much_and_when_it_could():
    wish = ask_departing(departing(44_000, 3, charged_wh=5_500)).wish
    assert wish.asks == (None, None, 11_000, True)
    assert wish.reason.why is Why.UNREACHABLE
    assert wish.reason.missing_wh == pytest.approx(5_500)
    assert wish.reason.reachable_at == NOON + 3.5 * HOUR
    assert wish.reason.left_wh == 38_500


def test_after_the_departure_it_goes_on_for_whoever_is_still_there():
    wish = ask_departing(departing(11_000, -1)).wish
    assert wish.asks == (None, None, 11_000, True)
    assert (wish.reason.missing_wh, wish.reason.reachable_at) == (11_000, NOON + HOUR)


def test_at_the_goal_it_pauses_for_good():
    wish = ask_departing(departing(8_000, 2, charged_wh=8_000), 9_000).wish
    assert wish.asks == (None, 0, None, False)
    assert wish.reason.why is Why.REACHED
    assert wish.invalid_at == NOON + timedelta(days=400)
    nearly = ask_departing(departing(8_000, 2, charged_wh=7_999.5), 9_000).wish
    assert nearly.reason.why is Why.REACHED


def test_once_it_had_to_start_it_goes_on_until_it_has_won_an_hour():
    started = State(NOON, running=True, firm_w=4_140)
    barely, plenty = departing(4_140 * 9, 9.5), departing(4_140 * 8, 9.5)
    assert ask_departing(barely, 0, state=started).wish.asks.min_w == 4_140
    assert ask_departing(barely, 0).wish.asks.max_w == 0
    assert ask_departing(departing(50_000, 10), 0).state.firm_w == 5_100
    assert ask_departing(departing(50_000, 1)).state == State(NOON, running=True, firm_w=11_000)
    released = ask_departing(plenty, 0, state=started)
    assert released.wish.reason.why is Why.HOLDING
    assert released.state.firm_w is None


def test_what_it_needs_is_told_in_steps_too():
    started = State(NOON, running=True, firm_w=5_100)
    for energy_wh, told in [(50_000, 5_100), (48_800, 5_100), (48_500, 4_900), (51_000, 5_200)]:
        wish = ask_departing(departing(energy_wh, 10), 0, state=started).wish
        assert wish.asks.min_w == told


def rooms(*steps):
    """What others leave: W from so many hours after noon on, for a part of the time."""
    return tuple(Room(NOON + hours * HOUR, *room) for hours, *room in steps)


@pytest.mark.parametrize(
    ("energy_wh", "hours", "left", "needed_w", "missing_wh", "reachable_at"),
    [
        # All the time less than it could do.
        (15_000, 2, rooms((0, 5_000)), 11_000, 5_000, NOON + 3 * HOUR),
        # Less for an hour, then as much as it can.
        (15_000, 2, rooms((0, 5_000), (1, inf)), None, 0, None),
        # A pause, then too little time.
        (15_000, 2, rooms((0, 0), (1, inf)), 11_000, 4_000, NOON + (1 + 15 / 11) * HOUR),
        # Less than the minimum is a pause.
        (15_000, 2, rooms((0, 3_000), (1, inf)), 11_000, 4_000, NOON + (1 + 15 / 11) * HOUR),
        # Never enough.
        (15_000, 2, rooms((0, 0)), 11_000, 15_000, None),
        # In half of the time, by turns, and all of it after an hour.
        (15_000, 2, rooms((0, 5_000, 0.5)), 11_000, 10_000, NOON + 6 * HOUR),
        (5_000, 2, rooms((0, 5_000, 0.5), (1, inf)), 5_000 / 1.5, 0, None),
        # What comes after the departure helps nobody by then.
        (15_000, 2, rooms((0, 5_000), (3, inf)), 11_000, 5_000, NOON + 3 * HOUR),
    ],
)
def test_a_departure_knows_what_others_leave_and_until_when(
    energy_wh, hours, left, needed_w, missing_wh, reachable_at
):
    departure = replace(departing(energy_wh, hours), rooms=left)
    plan = plan_departure(departure, STATION, now=NOON, tuning=Tuning(reserve=timedelta()))
    assert plan.missing_wh == pytest.approx(missing_wh)
    assert plan.reachable_at == (
        reachable_at and pytest.approx(reachable_at, abs=timedelta(seconds=1))
    )
    if needed_w is not None:
        assert plan.needed_w == needed_w


@example(46_323.0, 6.6171875, [])
@given(
    st.floats(500, 60_000),
    st.floats(0.2, 12),
    st.lists(
        st.tuples(
            st.floats(0.1, 5),
            st.sampled_from([0, 3_000, 4_140, 6_000, inf]),
            st.sampled_from([0.25, 1]),
        )
    ),
)
def test_what_a_departure_needs_is_just_enough_where_others_leave_it(energy_wh, hours, steps):
    at, left = 0.0, [(0.0, 7_000.0, 1.0)]
    for lasts, max_w, part in steps:
        at += lasts
        left.append((at, max_w, part))
    departure = replace(departing(energy_wh, hours), rooms=rooms(*left))
    plan = plan_departure(departure, STATION, now=NOON, tuning=Tuning(reserve=timedelta()))
    ends = [*(begin for begin, _w, _part in left[1:]), inf]
    charged_wh = sum(
        min(plan.needed_w, max_w) * part * max(0.0, min(end, hours) - begin)
        for (begin, max_w, part), end in zip(left, ends, strict=True)
        if max_w >= STATION.min_w
    )
    if plan.missing_wh:
        assert charged_wh == pytest.approx(energy_wh - plan.missing_wh, abs=1)
    else:
        # What is less is not told as missing.
        assert -MISSED_WH < charged_wh - energy_wh < 2


def test_who_is_paused_by_others_leaves_the_sun_to_the_rest():
    held, free = replace(STATION, most_w=0), replace(STATION, key="b")
    demands = [Demand(station=one, mode=Mode.SURPLUS) for one in (held, free)]
    first, second = ask(demands, site_with(5_000), now=NOON)
    assert (first.wish.asks.max_w, first.wish.reason.why) == (0, Why.HELD)
    assert second.wish.reason.why is Why.STARTING


def test_a_station_is_dealt_no_more_sun_than_others_leave_it():
    day = Day(Mode.SURPLUS, replace(STATION, most_w=5_000), replace(STATION, key="b"))
    for _ in range(4):
        wishes = day.step(14_000)
    assert limits_of(wishes) == [5_000, 9_000]


class Drive:
    """A station alone, second by second, with a car that takes what it can of what it is offered.

    `phases`: on how many of the station's three it charges; `most_w`: what it takes at most.
    """

    STEP = timedelta(seconds=30)

    def __init__(self, mode, *, phases=3, most_w=inf, station=STATION, departs=None):
        self.mode, self.station, self.departs = mode, station, departs
        self.phases, self.most_w = phases, most_w
        self.now, self.state, self.wish = NOON, None, None
        self.offered_w = self.drawn_w = self.charged_wh = 0.0

    def run(self, minutes, sun_w=0.0):
        """So long with so much sun; what is asked for at the end."""
        for _ in range(round(minutes * MINUTE / self.STEP)):
            self.now += self.STEP
            self.charged_wh += self.drawn_w * (self.STEP / HOUR)
            seen = read(self.drawn_w, self.now)
            departure = self.departs and replace(self.departs, charged_wh=self.charged_wh)
            demand = Demand(
                station=replace(self.station, power=seen, offered_w=self.offered_w),
                mode=self.mode,
                departure=departure,
                state=self.state,
            )
            site = site_with(sun_w, drawn=self.drawn_w, at=self.now)
            [answer] = ask([demand], site, now=self.now)
            self.state, self.wish = answer.state, answer.wish
            asks = self.wish.asks
            self.offered_w = asks.max_w if asks.set_point_w is None else asks.set_point_w
            self.drawn_w = min(self.offered_w * self.phases / 3, self.most_w)
        return self.wish

    def reasons(self, hours, sun_w=0.0):
        """The reason of each minute."""
        return [self.run(1, sun_w).reason for _ in range(round(hours * 60))]


def test_a_car_on_one_phase_charges_from_the_sun_that_it_takes():
    drive = Drive(Mode.SURPLUS, phases=1)
    drive.run(10, 4_500)
    assert (drive.wish.asks.max_w, drive.drawn_w) == (4_500, 1_500)
    wish = drive.run(60, 2_000)
    assert (wish.asks.max_w, drive.drawn_w, wish.reason.why) == (4_140, 1_380, Why.SURPLUS)


def test_a_car_on_one_phase_pauses_without_the_sun_that_it_takes_and_comes_back_with_it():
    drive = Drive(Mode.SURPLUS, phases=1)
    drive.run(10, 4_500)
    wish = drive.run(2, 1_300)
    assert (wish.asks.max_w, wish.reason.why) == (4_140, Why.HOLDING)
    wish = drive.run(2, 1_300)
    assert (wish.asks.max_w, wish.reason.why) == (0, Why.TOO_LITTLE)
    assert wish.reason.least_w == pytest.approx(1_380)
    assert drive.run(2, 1_500).asks.max_w == 4_140


def test_a_full_car_is_offered_nothing_without_the_sun_for_it():
    drive = Drive(Mode.SURPLUS, most_w=20)
    assert drive.run(10, 5_000).reason.why is Why.IDLE
    assert drive.offered_w == 4_140
    drive.run(4, -500)
    assert (drive.offered_w, drive.wish.reason.why) == (0, Why.TOO_LITTLE)
    # It is still the same car: others need not wait for it again.
    drive.run(2, 5_000)
    assert (drive.offered_w, drive.wish.reason.why) == (4_140, Why.IDLE)


def test_a_pause_is_no_sign_of_a_full_car():
    drive = Drive(Mode.SURPLUS, most_w=0)
    drive.run(2, 5_000)
    assert drive.offered_w == 5_000
    drive.station = replace(STATION, most_w=0)
    drive.run(30, 5_000)
    assert (drive.offered_w, drive.state.car.is_idle) == (0, False)


def test_a_departure_finds_out_that_the_car_takes_a_third_and_offers_it_more():
    station = replace(STATION, max_w=22_000)
    drive = Drive(Mode.DEPARTURE, phases=1, station=station, departs=departing(20_000, 10))
    reasons = drive.reasons(10)
    assert drive.charged_wh == pytest.approx(20_000, abs=100)
    assert not any(reason.missing_wh for reason in reasons)
    # What it is offered is enough all the time, and never all that there is.
    assert {reason.why for reason in reasons} == {Why.TOO_LITTLE, Why.STEADY, Why.REACHED}


@pytest.mark.parametrize(("phases", "most_w"), [(3, 11_000), (1, 7_360)])
def test_a_departure_says_at_once_what_the_car_itself_makes_impossible(phases, most_w):
    station = replace(STATION, max_w=22_000)
    departs = departing(80_000, 6)
    drive = Drive(Mode.DEPARTURE, phases=phases, most_w=most_w, station=station, departs=departs)
    reasons = drive.reasons(6)
    missing_wh = 80_000 - most_w * 6
    first = next(index for index, reason in enumerate(reasons) if reason.missing_wh)
    assert first < 10
    for reason in reasons[first + 1 :]:  # at full power it shows what it can
        assert reason.missing_wh == pytest.approx(missing_wh, abs=500)
        assert reason.why is Why.UNREACHABLE
    assert drive.charged_wh == pytest.approx(most_w * 6, rel=0.02)


def test_a_departure_belongs_to_its_mode_and_to_no_other():
    for mode, departure in [(Mode.DEPARTURE, None), (Mode.FORCED, departing(1, 1))]:
        with pytest.raises(ValueError, match="if, and only if"):
            Demand(station=STATION, mode=mode, departure=departure)
    for energy_wh in (-1, float("nan"), 2e6):
        with pytest.raises(ValueError, match="between"):
            Departure(energy_wh, NOON)


def test_a_station_has_limits_that_make_sense():
    for low, high in [(0, 11_000), (5_000, 4_000), (4_140, float("inf")), (float("nan"), 1)]:
        with pytest.raises(ValueError, match="station"):
            Station(key="a", min_w=low, max_w=high)
    assert (Station(key="a").min_w, Station(key="a").max_w) == (4_140, 22_000)


# What always holds

surpluses = st.floats(-5_000, 30_000)
days = st.lists(st.tuples(surpluses, st.integers(5, 120)), min_size=1, max_size=40)


@st.composite
def station_lists(draw):
    limits = draw(st.lists(st.tuples(st.floats(1_000, 7_000), st.floats(0, 15_000)), max_size=5))
    return [
        Station(key=str(index), min_w=low, max_w=low + more)
        for index, (low, more) in enumerate(limits)
    ]


@given(surpluses, station_lists())
def test_shares_never_add_up_to_more_than_the_surplus_and_each_is_possible(surplus, stations):
    shares = split_surplus(surplus, stations)
    assert sum(shares) <= max(surplus, 0) + 1e-6
    for share, station in zip(shares, stations, strict=True):
        assert share == 0 or station.min_w <= share <= station.max_w + 1e-6


@given(surpluses, st.floats(0, 5_000), station_lists())
def test_of_more_surplus_no_less_is_used(surplus, more, stations):
    assert (
        sum(split_surplus(surplus + more, stations)) >= sum(split_surplus(surplus, stations)) - 1e-6
    )


@given(days)
@settings(deadline=None)
def test_a_station_charges_with_the_surplus_or_is_held_at_its_minimum_for_a_while(steps):
    day, below_since = Day(Mode.SURPLUS), None
    for surplus, seconds in steps:
        wish = day.step(surplus, timedelta(seconds=seconds))["a"]
        if surplus >= STATION.min_w:
            below_since = None
            assert wish.asks.max_w <= surplus + 1e-6
        else:
            below_since = below_since or day.now
            assert wish.asks.max_w in (0, STATION.min_w)
            if day.now - below_since >= DEFAULTS.stop_after:
                assert wish.asks.max_w == 0


@given(days, surpluses, st.floats(0, 5_000))
@settings(deadline=None)
def test_of_more_surplus_a_station_is_never_asked_for_less(steps, surplus, more):
    day = Day(Mode.SURPLUS)
    for each, seconds in steps:
        day.step(each, timedelta(seconds=seconds))
    states = dict(day.states)
    less = ask_one(Mode.SURPLUS, surplus, at=day.now, state=states["a"])
    greater = ask_one(Mode.SURPLUS, surplus + more, at=day.now, state=states["a"])
    assert greater.wish.asks.max_w >= less.wish.asks.max_w


@given(days, station_lists(), st.sampled_from([Mode.SURPLUS, Mode.MINIMUM_AND_SURPLUS]))
@settings(deadline=None)
def test_limits_never_add_up_to_more_than_the_surplus_or_the_minima_of_those_that_charge(
    steps, stations, mode
):
    day = Day(mode, *stations or [STATION])
    for surplus, seconds in steps:
        wishes = day.step(surplus, timedelta(seconds=seconds))
        charging = [day.stations[key] for key, wish in wishes.items() if wish.asks.max_w]
        minima = sum(station.min_w for station in charging)
        assert sum(limits_of(wishes)) <= max(surplus, minima) + 1e-6
        for station in charging:
            assert station.min_w <= wishes[station.key].asks.max_w <= station.max_w


@given(days, station_lists())
@settings(deadline=None)
def test_what_wanders_less_than_a_step_changes_no_limit_for_long(steps, stations):
    day = Day(Mode.SURPLUS, *stations or [STATION])
    for surplus, seconds in steps:
        day.step(surplus, timedelta(seconds=seconds))
    for _ in range(20):
        day.step(12_345, MINUTE)
    settled = limits_of(day.step(12_345, MINUTE))
    assert all(limits_of(day.step(12_345, MINUTE)) == settled for _ in range(5))


@given(
    energy_wh=st.floats(0, 80_000),
    minutes=st.integers(10, 900),
    pace=st.integers(1, 5),
    low=st.floats(1_000, 7_000),
    more=st.floats(0, 15_000),
    suns=st.lists(surpluses, min_size=1, max_size=10),
    eager=st.booleans(),
)
@settings(deadline=None)
def test_a_departure_that_says_it_can_reaches_its_goal(
    energy_wh, minutes, pace, low, more, suns, eager
):
    """Whatever the sun does, and whether a station takes all that it may or just what it must."""
    station = Station(key="a", min_w=low, max_w=low + more)
    departs_at, charged, state, now = NOON + minutes * MINUTE, 0.0, None, NOON
    departure = Departure(energy_wh, departs_at)
    possible = not plan_departure(departure, station, now=NOON).missing_wh
    for index in range(0, minutes, pace):
        now = NOON + index * MINUTE
        departure = Departure(energy_wh, departs_at, charged)
        answer = ask_departing(
            departure, suns[index % len(suns)], at=now, state=state, station=station
        )
        state, wish = answer.state, answer.wish
        least = wish.asks.min_w or 0.0
        power = wish.asks.set_point_w or (wish.asks.max_w if eager else least)
        assert power == 0 or low <= power <= low + more
        charged += power * min(pace, minutes - index) / 60
    assert not possible or charged >= energy_wh - MISSED_WH - NEGLIGIBLE_WH


@given(st.floats(2, 100_000), st.floats(-1, 24), st.floats(1_000, 7_000), st.floats(0, 15_000))
def test_what_is_missing_at_departure_is_there_when_it_says(energy_wh, hours, low, more):
    station = Station(key="a", min_w=low, max_w=low + more)
    departure = departing(energy_wh, hours)
    plan = plan_departure(departure, station, now=NOON)
    if plan.reachable_at is None:
        assert station.max_w * max(hours, 0) >= energy_wh - MISSED_WH - NEGLIGIBLE_WH
    else:
        assert plan.reachable_at > departure.departs_at
        late = (plan.reachable_at - max(departure.departs_at, NOON)) / HOUR
        assert plan.missing_wh == pytest.approx(station.max_w * late, abs=0.1)
