"""A whole installation of its own, in processes that can be killed: servers, link, gateways."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import psycopg

from gridx.gateways.codec import encode
from gridx.gateways.messages import VERSION, ApplianceReadings, Readings, Status
from gridx.gateways.topics import Channel, mqtt_topic
from gridx.services.addresses import PROJECT_ROOT, Addresses, addresses
from tests.gridx.services.conftest import VARIABLES, Supervisor, remove

# A site with one gateway, whose only appliance is a grid meter.
SEED = """
import json
from gridx import clock
from accounts.models import Account
from inventory.models import Appliance, System
from inventory.operations import register_gateway
now = clock.now()
account = Account.objects.create(name="Operator AG")
made = []
for serial in {serials!r}:
    system = System.objects.create(account=account, name=serial)
    gateway, secret = register_gateway(system=system, serial=serial, by=None, now=now)
    meter = Appliance.objects.create(
        system=system, gateway=gateway, local_id="grid", kind="grid_meter", name="Grid meter"
    )
    meter.refresh_from_db()
    made.append([serial, secret, meter.key])
print(json.dumps(made))
"""


class Installation:
    """Servers in a data directory of their own, with the tables of this project."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gridx-test-"))
        self.directory.chmod(0o711)  # PostgreSQL may run as another user
        self.environ = {name: text for name, text in os.environ.items() if name not in VARIABLES}
        self.environ["GRIDX_DATA_DIR"] = str(self.directory)
        # Its gateways send as fast as they can, and are to go on with that.
        self.environ["GRIDX_GATEWAY_MESSAGES_A_MINUTE"] = "1000000"
        self._supervisor: Supervisor | None = None
        self._running: list[subprocess.Popen] = []
        self._log = self.directory / "link.log"

    def __enter__(self) -> "Installation":
        self._supervisor = Supervisor(self.directory)
        self._manage("migrate", "--verbosity", "0")
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._running:
            process.kill()
            process.wait(10)
        if self._supervisor is not None:
            self._supervisor.end(signal.SIGTERM)
        remove(self.directory)

    @property
    def at(self) -> Addresses:
        return addresses(self.environ)

    def run_code(self, code: str) -> str:
        """What the code prints, with Django at hand."""
        return self._manage("shell", "--no-imports", "-c", code)

    def register(self, *serials: str) -> "list[Gateway]":
        made = json.loads(self.run_code(SEED.format(serials=serials)).splitlines()[-1])
        return [Gateway(self.at, serial, secret, key) for serial, secret, key in made]

    def start_link(self) -> subprocess.Popen:
        """A link, once it lets gateways in."""
        said = self.log().count("Gateways are let in")
        link = self.start("manage.py", "run_link", log=self._log)
        deadline = time.monotonic() + 60
        while self.log().count("Gateways are let in") == said:
            assert link.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        return link

    def start(self, *argv: str, log: Path) -> subprocess.Popen:
        """A process of this installation, which says what it does in a file; Python runs it."""
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *argv],
                env=self.environ,
                cwd=PROJECT_ROOT,
                stdout=file,
                stderr=file,
            )
        self._running.append(process)
        return process

    def rows(self, query: str, *parameters: object) -> list[tuple]:
        """What the database answers; nothing while it is away."""
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(self.at.database_url, autocommit=True) as connection,
        ):
            return connection.execute(query, parameters).fetchall()
        return []

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def stored(self, *gateways: "Gateway") -> set[tuple[int, int]]:
        """The gateways' readings in the database: appliance key and milliseconds.

        None of them while the database is away.
        """
        query = """
            SELECT appliance_key, round(extract(epoch FROM at) * 1000)::bigint
            FROM measurements_reading WHERE appliance_key = ANY(%s)
        """
        keys = [gateway.appliance_key for gateway in gateways]
        return set(self.rows(query, keys))

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(PROJECT_ROOT / "manage.py"), *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Gateway:
    """A gateway that sends one unique reading after the other and knows which were acknowledged.

    As real ones do, it comes back after every failure and sends again what was not acknowledged.
    Each reading's counter says how many went before: n Wh at the n-th.
    """

    WINDOW = 10
    STEP_MS = 1000

    def __init__(self, at: Addresses, serial: str, secret: str, appliance_key: int) -> None:
        self.serial, self._secret, self.appliance_key = serial, secret, appliance_key
        self._at = at
        # In the past, so that no reading lies in the future however many there are.
        self._start_ms = (int(time.time()) - 5 * 86_400) * 1000
        self._next = 0
        self._waiting: set[int] = set()
        self.acknowledged: set[int] = set()

    def instant_of(self, number: int) -> int:
        return self._start_ms + number * self.STEP_MS

    async def send(self, stop: asyncio.Event) -> None:
        """Send until `stop`, and then until all of it is acknowledged."""
        while not stop.is_set() or self._waiting:
            with suppress(aiomqtt.MqttError, TimeoutError):
                async with self.client() as client:
                    status = Status(v=VERSION, online=True)
                    await self.publish(client, Channel.STATUS, encode(status))
                    await self._send_over(client, stop)
            await asyncio.sleep(0.2)

    async def _send_over(self, client: aiomqtt.Client, stop: asyncio.Event) -> None:
        while not stop.is_set() or self._waiting:
            new = 0 if stop.is_set() else self.WINDOW - len(self._waiting)
            self._waiting |= set(range(self._next, self._next + new))
            self._next += new
            results = await asyncio.gather(
                *(self._deliver(client, number) for number in self._waiting), return_exceptions=True
            )
            for failure in filter(None, results):
                raise failure

    async def _deliver(self, client: aiomqtt.Client, number: int) -> None:
        part = ApplianceReadings(
            appliance="grid",
            at=[self.instant_of(number)],
            power_w=[3600.0],
            imported_wh=[float(number)],
        )
        readings = Readings(v=VERSION, seq=number, appliances=[part])
        await self.publish(client, Channel.READINGS, encode(readings))
        self._waiting.discard(number)
        self.acknowledged.add(number)

    async def publish(self, client: aiomqtt.Client, channel: Channel, body: bytes) -> None:
        await client.publish(mqtt_topic(self.serial, channel), body, qos=1, timeout=30)

    def client(self) -> aiomqtt.Client:
        broker = urlsplit(self._at.mqtt_url)
        return aiomqtt.Client(
            broker.hostname,
            broker.port,
            identifier=self.serial,
            username=self.serial,
            password=self._secret,
            timeout=30,
        )
