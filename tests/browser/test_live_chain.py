"""From a gateway's message to the eyes: MQTT, the log, the link, the socket, the page."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from gridx import clock
from gridx.gateways.topics import Channel, mqtt_topic
from gridx.services.processes import Process, Supervisor
from inventory.operations import rotate_secret
from tests.browser.conftest import sign_in
from tests.browser.site import LiveSite
from tests.cast import Cast

ROOT = Path(__file__).resolve().parents[2]
NBSP = "\N{NO-BREAK SPACE}"
WITHIN_MS = 2_000


class Box:
    """Mara's gateway."""

    def __init__(self, serial: str, secret: str) -> None:
        self.serial = serial
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=serial, clean_session=False
        )
        self._client.username_pw_set(serial, secret)
        broker = urlsplit(settings.ADDRESSES.mqtt_url)
        deadline = time.monotonic() + 30
        self._client.connect(broker.hostname, broker.port)
        self._client.loop_start()
        # Nobody is let in before the link is there to hear them; the client tries again.
        while not self._client.is_connected():
            assert time.monotonic() < deadline, "the gateway is not let in"
            time.sleep(0.1)

    def reads(self, seq: int, **powers_w: float) -> None:
        """Send one reading of each appliance, and wait until it is acknowledged."""
        now_ms = int(clock.now().timestamp() * 1000)
        body = {
            "v": 1,
            "seq": seq,
            "appliances": [
                {"appliance": local_id, "at": [now_ms], "power_w": [power]}
                for local_id, power in powers_w.items()
            ],
        }
        sent = self._client.publish(
            mqtt_topic(self.serial, Channel.READINGS), json.dumps(body), qos=1
        )
        sent.wait_for_publish(timeout=60)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def box(
    live_site: LiveSite, cast: Cast, child_environment: dict[str, str], tmp_path: Path
) -> Iterator[Box]:
    """Mara's gateway, connected through a link of its own."""
    secret = live_site.run(rotate_secret, gateway=cast.gateway, by=None, now=clock.now())
    link = Process(
        name="link",
        argv=[sys.executable, "manage.py", "run_link"],
        env=child_environment,
        cwd=ROOT,
    )
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(link)
        found = Box(cast.gateway.serial, secret)
        yield found
        found.leave()


def test_a_gateways_message_changes_the_open_page_within_two_seconds(
    page: Page, cast: Cast, box: Box
):
    box.reads(1, pv=-1_000.0, grid=0.0, battery=0.0, evcs=1_000.0)
    sign_in(page, cast.mara.email)
    expect(page.locator("#flow .says")).to_contain_text(f"1.00{NBSP}kW", timeout=10_000)
    for seq, watts, words in ((2, 4_490.0, "4.49"), (3, 7_300.0, "7.30")):
        box.reads(seq, pv=-watts, grid=0.0, battery=0.0, evcs=watts)
        expect(page.locator("#flow .says")).to_contain_text(
            f"Your car charges at {words}{NBSP}kW, all of it from the sun", timeout=WITHIN_MS
        )
