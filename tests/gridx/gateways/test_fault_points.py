"""Killed at any point of storing and computing: nothing is lost, doubled, wrong or stuck."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import nats
import nats.errors
import pytest

from gridx.gateways.codec import encode
from gridx.gateways.consumers import READINGS
from gridx.gateways.messages import VERSION, ApplianceReadings
from gridx.gateways.messages import Readings as Message
from gridx.gateways.topics import MQTT_STREAM, Channel, stream_subject
from tests.gridx.gateways.fault_points import ITSELF, LINK, WORKER, Forge
from tests.gridx.gateways.installation import Installation
from tests.gridx.services.conftest import gone, wait_until

pytestmark = pytest.mark.alone

# A server that is killed often takes longer and longer to come back, so each is at few points.
SERVERS_OF_LINK = [
    ("they are stored and their slots marked", "postgres"),
    ("all is done but the commit", "postgres"),
    ("it is committed", "postgres"),
    ("a message has come", "nats"),
    ("the latest ones are kept", "nats"),
    ("a part is acknowledged", "nats"),
    ("its readings are staged", "valkey"),
    ("it is committed", "valkey"),
]
SERVERS_OF_WORKER = [
    ("slots are claimed", "postgres"),
    ("all is done but the commit", "postgres"),
    ("a worker is told", "valkey"),
    ("systems' slots are stored", "nats"),
]
LINK_ITSELF = [(name, ITSELF) for name in LINK]
WORKER_ITSELF = [(name, ITSELF) for name in WORKER]
PARTS = 3
READINGS_A_SITE = 2 * 25


def name_of(role: str, case: tuple[str, str]) -> str:
    return f"{role}, when {case[0]}: {case[1]}"


NAMES = [
    name_of(role, case)
    for role, cases in (
        ("link", LINK_ITSELF),
        ("link", SERVERS_OF_LINK),
        ("worker", WORKER_ITSELF),
        ("worker", SERVERS_OF_WORKER),
    )
    for case in cases
]


def series() -> dict[str, list[float]]:
    """What a site measures, every ten minutes: two hours of one month and two of the next."""
    midnight = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = (midnight - timedelta(days=1)).replace(day=1) - timedelta(hours=2)
    count = READINGS_A_SITE // 2
    return {
        "at": [round(begin.timestamp() * 1000) + 600_000 * number for number in range(count)],
        "imported_wh": [1_000.0 + 250.0 * number for number in range(count)],
        "battery_w": [-1_500.0 if number % 7 < 3 else 900.0 for number in range(count)],
    }


# What follows is called in processes of the installation.


def make_sites(names: list[str]) -> list[list]:
    """A system each: [serial number, key of the system, keys of its meter and its battery]."""
    from accounts.models import Account
    from gridx import clock
    from inventory.models import Appliance, System
    from inventory.operations import register_gateway
    from tests.measurements.arrivals import ZONES

    account = Account.objects.create(name="Operator AG")
    made = []
    for number, name in enumerate(names):
        zone = ZONES[number % len(ZONES)]
        system = System.objects.create(account=account, name=name, time_zone=zone)
        serial = f"FAULT-{number}"
        gateway, _secret = register_gateway(system=system, serial=serial, by=None, now=clock.now())
        keys = []
        for local_id, kind in (("grid", "grid_meter"), ("battery", "battery")):
            appliance = Appliance.objects.create(
                system=system, gateway=gateway, local_id=local_id, kind=kind, name=local_id
            )
            appliance.refresh_from_db()
            keys.append(appliance.key)
        system.refresh_from_db()
        made.append([serial, system.key, *keys])
    return made


def store_directly(system_key: int, meter: int, battery: int) -> None:
    from gridx import clock
    from measurements.batches import Batch
    from measurements.ingest import store_readings

    measured = series()
    for key, columns in (
        (meter, {"imported_wh": measured["imported_wh"]}),
        (battery, {"power_w": measured["battery_w"]}),
    ):
        batch = Batch.of(system_key=system_key, appliance_key=key, at_ms=measured["at"], **columns)
        store_readings(batch=batch, now=clock.now())


def tell_workers() -> None:
    """As the clock does, which tries again where nobody could be told."""
    from kombu.exceptions import OperationalError

    from measurements.tasks import compute_slots

    with suppress(OperationalError):
        compute_slots.apply_async(retry=False, expires=20.0)


def compute_all() -> int:
    from gridx import clock
    from measurements.slots import compute_until_clean

    return compute_until_clean(now=clock.now())


def look_at(sites: list[list]) -> list[dict]:
    """What has become of these sites, compared with computing them from scratch."""
    from django.db import transaction
    from django.db.models import Sum

    from gridx import clock
    from inventory.models import Gateway, System
    from measurements.models import (
        ApplianceSlot,
        DirtySlot,
        LatestReading,
        Reading,
        SystemClaim,
    )
    from measurements.slots import compute_until_clean, mark_history
    from tests.measurements.arrivals import TABLES, Site, rows_of

    seen = []
    with transaction.atomic():
        # Raises where a claim is held still.
        claims = list(SystemClaim.objects.select_for_update(nowait=True).values_list(flat=True))
        dirty = set(DirtySlot.objects.values_list("system_key", flat=True))
        now = clock.now()
        for serial, system_key, *keys in sites:
            of_system = {"system_key": system_key}
            system = System.objects.get(key=system_key)
            site = Site(system, keys)
            made = rows_of(site)
            slots = ApplianceSlot.objects.filter(**of_system, appliance_key=keys[0])
            gateway = Gateway.objects.get(serial=serial)
            found = {
                "readings": [
                    [key, round(at.timestamp() * 1000), imported_wh, power_w]
                    for key, at, imported_wh, power_w in Reading.objects.filter(**of_system)
                    .order_by("appliance_key", "at")
                    .values_list("appliance_key", "at", "imported_wh", "power_w")
                ],
                "latest": [
                    round(at.timestamp() * 1000)
                    for at in LatestReading.objects.filter(**of_system).values_list("at", flat=True)
                ],
                "import_mwh": slots.aggregate(sum=Sum("import_mwh"))["sum"],
                "counted": [
                    gateway.last_sequence,
                    gateway.missing_messages,
                    gateway.refused_readings,
                ],
                "is claimable": system_key in claims,
                "is dirty": system_key in dirty,
                "empty": [name for name, rows in made.items() if not rows],
            }
            for model in TABLES:
                model.objects.filter(**of_system).delete()
            mark_history(system=system, from_at=now - timedelta(days=80), until_at=now, now=now)
            compute_until_clean(now=now)
            found["is as from scratch"] = rows_of(site) == made
            seen.append(found)
        transaction.set_rollback(True)
    return seen


class Story:
    """Everything that is killed, one after the other, and what has become of it."""

    def __init__(self, installation: Installation, forge: Forge) -> None:
        self.installation, self.forge = installation, forge
        made = forge.call(make_sites, names=NAMES)
        self.sites = dict(zip(NAMES, made, strict=True))

    def run(self) -> dict[str, dict]:
        self._make_log()
        self._kill_links()
        self._kill_servers_of_links()
        self.forge.call(compute_all)
        self._kill_workers()
        self._kill_servers_of_workers()
        found = self.forge.call(look_at, sites=list(self.sites.values()))
        return dict(zip(self.sites, found, strict=True))

    def _make_log(self) -> None:
        """Once links have been there, the broker keeps what comes for them."""
        link = self.forge.start("link")
        self._until(self._is_drained)
        self.forge.kill(link)

    def _kill_links(self) -> None:
        for case in LINK_ITSELF:
            self._publish(name_of("link", case))
            self.forge.allow("link")
            link = self.forge.start("link", [case])
            self._until(lambda link=link: gone(link))
        link = self.forge.start("link")
        self._until(self._is_drained)
        self.forge.kill(link)

    def _kill_servers_of_links(self) -> None:
        before = self.forge.struck("link")
        link = self.forge.start("link", SERVERS_OF_LINK)
        for number, case in enumerate(SERVERS_OF_LINK, start=before + 1):
            self.forge.allow("link")
            self._publish(name_of("link", case))
            self._until(lambda number=number: self.forge.struck("link") >= number)
            self._until(self._is_drained)
            assert not gone(link), self.forge.log()
        self.forge.kill(link)

    def _kill_workers(self) -> None:
        for case in WORKER_ITSELF:
            self._store(name_of("worker", case))
            self.forge.allow("worker")
            worker = self.forge.start("worker", [case])
            self.forge.call(tell_workers)
            self._until(lambda worker=worker: gone(worker))
        worker = self.forge.start("worker")
        self._until_clean()
        self.forge.kill(worker)

    def _kill_servers_of_workers(self) -> None:
        for number, case in enumerate(SERVERS_OF_WORKER, start=self.forge.struck("worker") + 1):
            self._store(name_of("worker", case))
            self.forge.allow("worker")
            worker = self.forge.start("worker", [case])
            self._until(lambda number=number: self._tell_and_look(number))
            if gone(worker):  # it need not survive its broker: another is started then
                worker = self.forge.start("worker")
            self._until_clean()
            self.forge.kill(worker)

    def _publish(self, name: str) -> None:
        """What the site's gateway sends, acknowledged by the broker's log."""
        serial, _system, _meter, _battery = self.sites[name]
        measured = series()
        at = measured["at"]
        bodies = []
        for part in range(PARTS):
            mine = slice(part, None, PARTS)
            meter = ApplianceReadings(
                appliance="grid", at=at[mine], imported_wh=measured["imported_wh"][mine]
            )
            battery = ApplianceReadings(
                appliance="battery", at=at[mine], power_w=measured["battery_w"][mine]
            )
            bodies.append(encode(Message(v=VERSION, seq=part + 1, appliances=[meter, battery])))

        async def publish() -> None:
            client = await nats.connect(self.installation.at.nats_url)
            for body in bodies:
                subject = stream_subject(serial, Channel.READINGS)
                await client.jetstream().publish(subject, body)
            await client.close()

        asyncio.run(publish())

    def _is_drained(self) -> bool:
        """Whether the links have acknowledged all that the log has for them."""

        async def waiting() -> int:
            client = await nats.connect(self.installation.at.nats_url, allow_reconnect=False)
            try:
                info = await client.jetstream().consumer_info(MQTT_STREAM, READINGS.durable_name)
            finally:
                await client.close()
            return info.num_pending + info.num_ack_pending

        try:
            return asyncio.run(waiting()) == 0
        except (nats.errors.Error, nats.js.errors.Error, OSError):
            return False

    def _store(self, name: str) -> None:
        _serial, system, meter, battery = self.sites[name]
        wait_until(lambda: self.installation.rows("SELECT 1"))
        self.forge.call(store_directly, system_key=system, meter=meter, battery=battery)

    def _tell_and_look(self, number: int) -> bool:
        """Whether the workers' victims are so many by now; else they are told again."""
        if self.forge.struck("worker") >= number:
            return True
        self.forge.call(tell_workers)
        return False

    def _until_clean(self) -> None:
        """Until nothing is left to compute; workers are told again and again, as by the clock."""

        def is_clean() -> bool:
            with_dirty = self.installation.rows("SELECT count(*) FROM measurements_dirtyslot")
            if with_dirty == [(0,)]:
                return True
            self.forge.call(tell_workers)
            return False

        self._until(is_clean)

    def _until(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.forge.log()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def story(installation) -> Iterator[Story]:
    with Forge(installation) as forge:
        yield Story(installation, forge)


@pytest.fixture(scope="module")
def found(story) -> dict[str, dict]:
    return story.run()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_killed_there_leaves_all_as_if_nothing_had_been(story, found, name):
    site = found[name]
    _serial, _system, meter, battery = story.sites[name]
    measured = series()
    columns = zip(measured["at"], measured["imported_wh"], measured["battery_w"], strict=True)
    rows = [([meter, at, wh, None], [battery, at, None, power_w]) for at, wh, power_w in columns]
    assert site["readings"] == [row for appliance in zip(*rows, strict=True) for row in appliance]
    assert site["latest"] == [measured["at"][-1]] * 2
    assert site["import_mwh"] == 1000 * (measured["imported_wh"][-1] - measured["imported_wh"][0])
    assert not site["is dirty"]
    assert site["is claimable"]
    assert not site["empty"]
    assert site["is as from scratch"]
    if name.startswith("link"):
        assert site["counted"] == [PARTS, 0, 0]
