"""Whatever happens, what gateways may be keeping to never adds up to more than a limit allows.

A gateway that is cut off again and again, cars that come and go, constraints, limits and clusters
that change: at every step the sums are compared with the limits, on what was sent and confirmed.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from flexibility.allotment import Strategy
from flexibility.delivery import Acknowledgement, Applied, record_acknowledgements
from flexibility.emitters import emitter_of
from flexibility.limits.operations import LimitDraft, fuse_emitter_of, set_limit, withdraw_limit
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import Constraint, GatewaySchedule, SharedLimit
from flexibility.operations import Draft, set_constraints, withdraw_constraint
from flexibility.standing import members_of
from flexibility.sweeping import balance_all_due, sweep
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster
from inventory.operations import move_appliance
from measurements.models import LatestReading

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
STEPS = 120
PHYSICAL_W = 11_000


class Site:
    """Two clusters, one in the other, with six stations, and a gateway that comes and goes.

    `sent` are the schedules that the gateway may keep to, by revision: the one that it confirmed,
    and all after it. `settled`: it has confirmed one since somebody last gave an order.
    """

    def __init__(self, cast, now: datetime, seed: int) -> None:
        self.cast, self.now, self.random = cast, now, Random(seed)
        self.outer = Cluster.objects.create(system=cast.lindenweg, name="Site")
        self.inner = Cluster.objects.create(system=cast.lindenweg, name="Deck", parent=self.outer)
        self.stations = [
            Appliance.objects.create(
                system=cast.lindenweg,
                gateway=cast.gateway,
                cluster=self.inner if number % 2 else self.outer,
                local_id=f"station-{number}",
                kind=ApplianceKind.EV_CHARGING_STATION,
                name=f"Station {number}",
            )
            for number in range(6)
        ]
        limits = DriverLimits(min_w=4_140, max_w=PHYSICAL_W, pausable=True)
        set_driver_limits(limits={one.pk: limits for one in self.stations}, now=now)
        self.is_cut = False
        self.confirmed = 0
        self.sent: dict[int, dict[str, list[dict]]] = {0: {}}
        self.settled = False

    # What happens

    def step(self) -> None:
        """Something happens, time passes, and the program does what is due."""
        event = self.random.choice(
            [self.limit, self.limit, self.order, self.order, self.cut, self.move, self.wait]
            + [self.wait] * 6
        )
        event()
        self.note()
        before = self.standing()
        self.now += timedelta(seconds=self.random.choice([1, 3, 10, 10, 20, 150]))
        self.settled = self.settled and self.standing() == before
        self.read()
        sweep(now=self.now)
        balance_all_due(now=self.now)
        self.note()
        if not self.is_cut and self.random.random() < 0.7:
            self.confirm()

    def limit(self) -> None:
        """A limit is set, changed or withdrawn."""
        cluster = self.random.choice([self.outer, self.inner])
        by = self.random.choice([emitter_of(self.cast.fleet), fuse_emitter_of(self.cast.staff)])
        before = SharedLimit.objects.filter(
            cluster=cluster, emitter_kind=by.kind, withdrawn_at=None, invalid_at__gt=self.now
        ).first()
        self.settled = False
        if before is not None and self.random.random() < 0.2:
            withdraw_limit(limit=before, by=by, now=self.now)
            return
        valid_at = self.now + timedelta(seconds=self.random.choice([0, 0, 45, 200]))
        draft = LimitDraft(
            id=before and before.pk,
            valid_at=valid_at,
            max_w=self.random.randrange(5_000, 60_000, 500),
            strategy=self.random.choice(list(Strategy)),
            invalid_at=valid_at + timedelta(seconds=self.random.choice([300, 3_600, 40_000])),
        )
        set_limit(cluster=cluster, draft=draft, by=by, now=self.now)

    def order(self) -> None:
        """Somebody asks a station for something, or for nothing any more."""
        station = self.random.choice(self.stations)
        by = emitter_of(self.random.choice([self.cast.staff, self.cast.mara]))
        standing = Constraint.objects.filter(
            appliance=station, emitter_kind=by.kind, withdrawn_at=None
        ).first()
        self.settled = False
        if standing is not None:
            withdraw_constraint(constraint=standing, by=by, now=self.now)
            return
        asked = self.random.choice(
            [{"min_w": 6_000}, {"max_w": 7_000}, {"set_point_w": 5_000}, {"set_point_w": 0}]
        )
        invalid_at = self.now + timedelta(seconds=self.random.choice([60, 600]))
        draft = Draft(**asked, invalid_at=invalid_at)
        set_constraints(target=station, drafts=[draft], emitter=by, now=self.now)

    def cut(self) -> None:
        """The gateway is cut off, or is there again."""
        self.is_cut = not self.is_cut

    def move(self) -> None:
        """A station comes into the inner cluster, or leaves it for the outer."""
        station = self.random.choice(self.stations)
        station.refresh_from_db()
        into = self.outer if station.cluster_id == self.inner.pk else self.inner
        self.settled = False
        move_appliance(appliance=station, cluster=into, by=None, now=self.now)
        sweep(now=self.now)

    def wait(self) -> None:
        """Nothing."""

    def read(self) -> None:
        """Stations are read while their gateway is there; now and then one is not."""
        for one in self.stations:
            if self.is_cut or self.random.random() < 0.02:
                continue
            LatestReading.objects.update_or_create(
                system_key=self.cast.lindenweg.key,
                appliance_key=one.key,
                defaults={
                    "at": self.now,
                    "power_at": self.now,
                    "power_w": 0.0,
                    "plug_state": self.random.choice([0, 1, 1, 1]),
                },
            )

    def standing(self) -> set[UUID]:
        """The limits that hold; one that ends lets orders through that it had outweighed."""
        return set(SharedLimit.objects.valid(self.now).values_list("pk", flat=True))

    # What the gateway does

    def note(self) -> None:
        """Whatever is saved may reach the gateway, at once or late."""
        schedule = GatewaySchedule.objects.filter(pk=self.cast.gateway.pk).first()
        if schedule is not None:
            self.sent[schedule.revision] = {
                part["appliance"]: part["segments"] for part in schedule.body
            }

    def confirm(self) -> None:
        """It keeps to the newest, and says so."""
        self.confirmed = max(self.sent)
        self.sent = {self.confirmed: self.sent[self.confirmed]}
        self.settled = True
        record_acknowledgements(
            acknowledgements=[
                Acknowledgement(
                    gateway=self.cast.gateway.pk,
                    revision=self.confirmed,
                    applied={one.pk: Applied() for one in self.stations},
                )
            ],
            now=self.now,
        )

    # What holds

    def check(self) -> int:
        """Compare all limits that can be reached; returns how many they were."""
        found = SharedLimit.objects.valid(self.now).select_related("system")
        checked = 0
        for limit in found:
            if not limit.balanced_at or not limit.is_reachable:
                continue
            members = list(members_of(limit.cluster).values_list("pk", flat=True))
            newest = round(sum(self.allowed_w(one, [max(self.sent)]) for one in members), 3)
            assert newest <= limit.max_w, (self.now, limit, newest)
            if self.settled:
                any_of_them = round(sum(self.allowed_w(one, self.sent) for one in members), 3)
                assert any_of_them <= limit.max_w, (self.now, limit, any_of_them)
            checked += 1
        return checked

    def allowed_w(self, station: UUID, revisions: Iterable[int]) -> float:
        """The most that a station may draw now by these schedules."""
        return max(self.asked_w(str(station), revision) for revision in revisions)

    def asked_w(self, station: str, revision: int) -> float:
        at = round(self.now.timestamp() * 1000)
        for one in self.sent[revision].get(station, ()):
            if one["start"] <= at < one["end"]:
                return max(0, one.get("set_point_w", one.get("max_w", PHYSICAL_W)))
        return PHYSICAL_W


@pytest.mark.parametrize("seed", range(6))
def test_a_reachable_limit_is_never_exceeded(cast, now, seed):
    site = Site(cast, now, seed)
    checked = 0
    for _ in range(STEPS):
        site.step()
        checked += site.check()
    assert checked > STEPS / 4
