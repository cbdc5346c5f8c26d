"""What is told of shares over time, without a database: both sides, kinds, refusals, orders."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from flexibility.allotment import Limit, Measured, Side, Strategy
from flexibility.limits.shares import divide_limits
from flexibility.limits.terms import Division, Kept, Rule, Span, Taker
from flexibility.resolver import PHYSICAL, Boundary, Constraint, EmitterKind, resolve
from inventory.kinds import ApplianceKind

NOW = datetime(2026, 6, 15, 10, 0, tzinfo=UTC)
FOREVER = datetime(2036, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PARENTS = {"site": None, "hall": "site", "row": "hall"}
NOTHING = Kept(span=Span(0, 0), wide=Span(0, 0))
STATION, BATTERY = ApplianceKind.EV_CHARGING_STATION, ApplianceKind.BATTERY


def constraint(key: str, priority: int, at: datetime = NOW, **said) -> Constraint:
    kind = EmitterKind.DRIVER if priority == PHYSICAL else EmitterKind.OPERATOR
    return Constraint(id=key, emitter=kind, priority=priority, created_at=at, **said)


def station(key: str, *constraints: Constraint, **known) -> Taker:
    driver = constraint(f"{key} can", PHYSICAL, min_w=4_140, max_w=11_000, pausable=True)
    return Taker(
        key=key, kind=STATION, constraints=(driver, *constraints), **{"cluster": "site", **known}
    )


def battery(key: str, **known) -> Taker:
    driver = constraint(f"{key} can", PHYSICAL, min_w=-5_000, max_w=5_000)
    return Taker(key=key, kind=BATTERY, constraints=(driver,), **{"cluster": "site", **known})


def rule(key: str, cluster: str = "site", priority: int = 3_000, **said) -> Rule:
    known = {name: said.pop(name) for name in ("kinds", "dynamic") if name in said}
    return Rule(
        key=key, cluster=cluster, priority=priority, created_at=NOW, limit=Limit(**said), **known
    )


def divide(rules, takers, *, meter=None, now=NOW) -> Division:
    return divide_limits(rules, takers, parents=PARENTS, meter=meter, now=now)


def maxima(division: Division, limit: str) -> dict[str, float]:
    return {
        taker: kept.span.max_w for (key, taker), kept in division.shares.items() if key == limit
    }


# What is divided ---------------------------------------------------------------------------------


def test_a_weaker_set_point_leaves_the_rest_to_others():
    wish = constraint("wish", 2_000, set_point_w=5_000)
    found = divide([rule("a", max_w=16_000)], [station("1", wish), station("2")])
    assert maxima(found, "a") == {"1": 5_000, "2": 11_000}


def test_a_stronger_set_point_is_kept_to():
    wish = constraint("wish", 50_000, set_point_w=9_000)
    found = divide([rule("a", max_w=14_000)], [station("1", wish), station("2")])
    assert maxima(found, "a") == {"1": 9_000, "2": 5_000}


@pytest.mark.parametrize(
    ("at", "minimum"),
    [
        (NOW - timedelta(microseconds=1), 5_250),
        # Which of the two wins its id decides: the share is not to count on it.
        (NOW, 6_000),
        (NOW + timedelta(hours=1), 6_000),
    ],
)
def test_of_the_same_priority_the_newer_is_the_stronger(at, minimum):
    order = constraint("order", 3_000, at, min_w=6_000)
    found = divide([rule("a", max_w=10_500)], [station("1", order), station("2")])
    assert maxima(found, "a")["1"] == minimum


def test_kinds_that_are_not_alike_are_limited_one_after_the_other():
    rules = [
        rule("all", max_w=14_000),
        rule("stations", "hall", max_w=6_000, kinds=frozenset({STATION})),
    ]
    takers = [station("1", cluster="hall"), battery("2", cluster="hall"), battery("3")]
    found = divide(rules, takers)
    assert maxima(found, "all") == {"1": 4_666.666, "2": 4_666.666, "3": 4_666.666}
    assert maxima(found, "stations") == {"1": 4_666.666}


def test_without_a_driver_the_nameplate_is_what_it_can_do():
    taker = Taker(key="1", cluster="site", kind=STATION, rated=Span(0, 7_400), is_stale=True)
    found = divide([rule("a", max_w=5_000)], [taker])
    [tally] = found.tallies["a"]
    assert (tally.allotted_w, tally.over_w) == (7_400, 2_400)


def test_a_dynamic_limit_is_taken_in_whole_steps():
    meter = Measured(3_333)
    found = divide(
        [rule("a", max_w=11_000, dynamic=True)], [station("1", power_w=1_000)], meter=meter
    )
    [tally] = found.tallies["a"]
    assert tally.limit_w == 8_600
    over = divide([rule("a", max_w=2_000, dynamic=True)], [station("1", power_w=0)], meter=meter)
    assert over.tallies["a"][0].over_w == 1_333


def test_phases_are_limited_where_they_are_known():
    limit = rule("a", phase_max_w=(4_000, 4_000, 4_000))
    takers = [station("1", phases=(1, 2, 3)), station("2", phases=(1,))]
    assert maxima(divide([limit], takers[:1]), "a") == {"1": 11_000}
    assert maxima(divide([limit], takers[1:]), "a") == {"2": 0}


def test_what_no_schedule_allows_any_more_is_no_room_to_rise():
    """Each had much at another time: both together never did."""
    passed, long_ago = NOW - 10 * SECOND, NOW - 60 * SECOND
    charging = Kept(
        span=Span(0, 4_500),
        wide=Span(0, 8_000),
        ahead={passed: Span(0, 4_500)},
        unconfirmed_since=long_ago,
    )
    leaving = Kept(span=Span(0, 0), wide=Span(0, 7_500), unconfirmed_since=long_ago)
    takers = [
        station("1", is_confirmed=False, kept={"a": charging}),
        station("2", is_confirmed=False, kept={"a": leaving}, draws=False),
    ]
    found = divide([rule("a", max_w=12_000)], takers)
    assert maxima(found, "a") == {"1": 4_500, "2": 0}


def test_an_order_that_a_stronger_limit_does_not_let_through_yet_takes_no_room():
    wish = constraint("wish", 50_000, set_point_w=5_000)
    rules = [
        rule("fuse", "hall", 1_000_000, max_w=6_500),
        rule("fleet", "site", max_w=14_000),
    ]
    ordered = {"fuse": Kept(span=Span(0, 4_140), wide=Span(0, 4_140)), "fleet": NOTHING}
    charging = {"fleet": Kept(span=Span(0, 10_930), wide=Span(0, 10_930))}
    takers = [
        station("1", wish, cluster="hall", kept=ordered, is_confirmed=False),
        station("2", kept=charging, is_confirmed=False),
    ]
    found = divide(rules, takers)
    # The other one is to fall first, and until then the order cannot be kept to.
    assert maxima(found, "fuse") == {"1": 4_140}
    assert maxima(found, "fleet") == {"1": 0, "2": 9_000}


def test_who_falls_silent_while_a_stronger_limit_keeps_it_off_counts_as_off():
    rules = [
        rule("fuse", "hall", 1_000_000, max_w=3_000),
        rule("fleet", "site", max_w=26_000),
    ]
    off = {"fuse": NOTHING, "fleet": NOTHING}
    charging = {"fleet": Kept(span=Span(0, 11_000), wide=Span(0, 11_000))}
    takers = [
        *(station(key, cluster="hall", kept=off, is_stale=True) for key in ("1", "2")),
        *(station(key, kept=charging, power_w=11_000.0) for key in ("3", "4")),
    ]
    found = divide(rules, takers)
    assert maxima(found, "fleet") == {"1": 0, "2": 0, "3": 11_000, "4": 11_000}
    assert [tally.over_w for tally in found.tallies["fleet"]] == [0]


# Over time ---------------------------------------------------------------------------------------


class Story:
    """Appliances with a gateway that confirms now and then, and all that may be in force there.

    `sent` are the boundaries by schedule: that which was confirmed last, and all after it. Of each
    appliance any of them may hold.
    """

    def __init__(self, seed: int) -> None:
        self.random, self.now = Random(seed), NOW
        clusters = list(PARENTS)
        self.takers = {
            key: make(key, cluster=self.random.choice(clusters))
            for number in range(self.random.randint(1, 7))
            for make in [self.random.choice([station, station, battery])]
            for key in [f"{number}"]
        }
        self.rules: dict[str, Rule] = {}
        self.division = Division()
        self.sent: list[dict[str, Boundary]] = [{key: self.physical(key) for key in self.takers}]
        self.settled = False

    def step(self) -> None:
        event = self.random.choice(
            [self.limit, self.order, self.refuse, self.fall_silent] + [self.confirm] * 5
        )
        event()
        self.now += timedelta(seconds=self.random.choice([1, 10, 10, 10, 30, 200]))
        self.divide()

    def limit(self) -> None:
        self.settled = False
        key = f"{self.random.randrange(4)}"
        if self.rules.pop(key, None) is None:
            sides = {
                "max_w": self.random.randrange(0, 45_000, 500),
                "min_w": -self.random.randrange(0, 20_000, 500),
            }
            said = self.random.sample(list(sides), self.random.choice([1, 2]))
            self.rules[key] = rule(
                key,
                self.random.choice(list(PARENTS)),
                self.random.choice([3_000, 1_000_000]),
                strategy=self.random.choice(list(Strategy)),
                kinds=self.random.choice([frozenset(), frozenset({STATION})]),
                **{name: sides[name] for name in said},
            )

    def order(self) -> None:
        self.settled = False
        one = self.any_taker()
        [driver, *others] = one.constraints
        if others:
            self.takers[one.key] = replace(one, constraints=(driver,))
            return
        asked = [{"min_w": 5_000}, {"max_w": 4_500}, {"set_point_w": 3_000}, {"max_w": -2_000}]
        said = self.random.choice(asked)
        order = constraint("order", self.random.choice([2_000, 50_000]), self.now, **said)
        self.takers[one.key] = replace(one, constraints=(driver, order))

    def refuse(self) -> None:
        """What it does then, nobody knows; when it takes schedules again, the newest."""
        one = self.any_taker()
        self.settled = False
        self.takers[one.key] = replace(one, is_steered=not one.is_steered)
        for sent in self.sent:
            sent[one.key] = self.physical(one.key)

    def fall_silent(self) -> None:
        one = self.any_taker()
        self.takers[one.key] = replace(one, is_stale=not one.is_stale)

    def confirm(self) -> None:
        self.sent = self.sent[-1:]
        self.settled = True
        for key, one in self.takers.items():
            kept = {limit: share.confirmed({}, FOREVER) for limit, share in one.kept.items()}
            self.takers[key] = replace(one, is_confirmed=True, kept=kept)

    def any_taker(self) -> Taker:
        return self.random.choice(list(self.takers.values()))

    def divide(self) -> None:
        self.division = divide(self.rules.values(), self.takers.values(), now=self.now)
        kept = {key: {} for key in self.takers}
        for (limit, taker), share in self.division.shares.items():
            kept[taker][limit] = share
        sent = {key: self.boundary(one, kept[key]) for key, one in self.takers.items()}
        is_new = sent != self.sent[-1]
        if is_new:
            self.sent.append(sent)
        for key, one in self.takers.items():
            self.takers[key] = replace(
                one, kept=kept[key], is_confirmed=one.is_confirmed and not is_new
            )
        for key, one in self.rules.items():
            self.rules[key] = replace(one, balanced_at=self.now)

    def boundary(self, taker: Taker, kept) -> Boundary:
        """What its gateway is told."""
        if not taker.is_steered:
            return self.physical(taker.key)
        shares = (
            Constraint(
                id=limit,
                emitter=EmitterKind.CLUSTER_LIMIT,
                priority=self.rules[limit].priority,
                created_at=NOW,
                min_w=share.span.min_w,
                max_w=share.span.max_w,
                bends=True,
            )
            for limit, share in kept.items()
        )
        return resolve((*taker.constraints, *shares), at=self.now).boundary

    def physical(self, key: str) -> Boundary:
        return resolve(self.takers[key].constraints[:1], at=self.now).boundary

    def check(self) -> int:
        """Compare every limit that can be reached; returns how many they were."""
        checked = 0
        for key, one in self.rules.items():
            if any(tally.over_w != 0 for tally in self.division.tallies[key]):
                continue
            members = [taker for limit, taker in self.division.shares if limit == key]
            for side, bound_w in ((Side.MAX, one.limit.max_w), (Side.MIN, one.limit.min_w)):
                if bound_w is None:
                    continue
                newest = sum(power_w([self.sent[-1][each]], side) for each in members)
                assert newest <= abs(bound_w) + 1e-6, (self.now, key, side)
                if self.settled:
                    widest = sum(
                        power_w([sent[each] for sent in self.sent], side) for each in members
                    )
                    assert widest <= abs(bound_w) + 1e-6, (self.now, key, side)
                checked += 1
        return checked


def power_w(boundaries: Iterable[Boundary], side: Side) -> float:
    """The most power on a side that any of these boundaries allows."""
    found = 0.0
    for one in boundaries:
        bound_w = one.max_w if side is Side.MAX else one.min_w
        if one.set_point_w is not None:
            bound_w = one.set_point_w
        found = max(found, bound_w * side.sign)
    return found


@pytest.mark.parametrize(
    "seeds",
    [
        *(range(first, first + 20) for first in range(0, 100, 20)),
        # An order that never reached its appliance, or that reached it.
        (251, 259, 443, 462, 593, 693),
    ],
)
def test_a_reachable_limit_is_never_exceeded(seeds):
    checked = 0
    for seed in seeds:
        story = Story(seed)
        for _ in range(60):
            story.step()
            try:
                checked += story.check()
            except AssertionError as error:
                raise AssertionError(f"with seed {seed}: {error}") from error
    assert checked > 25 * len(seeds)


@pytest.mark.parametrize("seed", range(12))
def test_between_limits_of_any_priority_nobody_starves(seed):
    """Each limit has room for at least one; all charge by turns, and wait three hours at most."""
    random, step = Random(seed), timedelta(minutes=1)
    rules = [
        rule(cluster, cluster, random.choice([2_000, 3_000, 1_000_000]), max_w=max_w)
        for cluster in PARENTS
        for max_w in [random.choice([5_000, 6_000, 9_000])]
    ]
    takers = [station(f"{each}", cluster=random.choice(list(PARENTS))) for each in range(5)]
    charged_at, now = dict.fromkeys((one.key for one in takers), NOW), NOW
    while now < NOW + timedelta(hours=8):
        found = divide(rules, takers, now=now)
        rules = [replace(one, balanced_at=now) for one in rules]
        for number, one in enumerate(takers):
            kept = {
                limit: replace(share, wide=share.span, unconfirmed_since=None)
                for (limit, taker), share in found.shares.items()
                if taker == one.key
            }
            power_w = min(share.span.max_w for share in kept.values())
            takers[number] = replace(one, kept=kept, power_w=power_w)
            if power_w >= 4_140:
                charged_at[one.key] = now
            assert now - charged_at[one.key] <= timedelta(hours=3), (one.key, now)
        now += step


def test_the_same_again_tells_the_same():
    rules = [rule("a", max_w=16_000)]
    takers = [station("1"), station("2"), station("3")]
    assert divide(rules, takers) == divide(reversed(rules), takers[::-1])
