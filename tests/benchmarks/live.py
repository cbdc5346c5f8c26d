"""From a gateway's publishing to the value on an open page, while 200 gateways send.

Broker (syncing always), link, worker, scheduler, web server and browser are real, each in
processes of its own, on one machine with one clock. The page is that of one of the systems; it
notes when an appliance's power changes. Each of the gateways sends every ten seconds, the one that
is looked at somewhat more often, each time another power.
"""

import os
import time
from datetime import timedelta

from playwright.sync_api import Page

from accounts.models import User
from gridx import clock
from gridx.services.addresses import Addresses
from inventory.models import Appliance
from measurements.resolutions import to_ms
from tests.benchmarks.broker import SYNCS, broker, environ_of
from tests.benchmarks.fleet import make_fleet
from tests.benchmarks.ground import server_settings, syncs_per_s
from tests.benchmarks.senders import LOCAL_IDS, MINUTE_MS, SignIn, one_sender, senders
from tests.benchmarks.site import (
    BEAT,
    LINK,
    SCHEDULER,
    WORKER,
    note_changes,
    processes,
    visitor,
    website,
)
from tests.benchmarks.timing import percentiles

GATEWAYS = 200
EVERY_S = 10.0
VALUES = 50
BAR_MS = 400
SYNC = "always"
# Values come at any instant between the regular pushes of the page.
APART_S = 1.73
_SETTLING_S = 5.0
_BACK = timedelta(days=2)


def measure(*, scale: float) -> dict:
    """Milliseconds from publishing to the DOM."""
    user, fleet = make_fleet(GATEWAYS)
    count = max(10, round(VALUES * scale))
    return {
        "workload": {"gateways": GATEWAYS, "a_message_every_s": EVERY_S, "values": count},
        "bar_ms": BAR_MS,
        "sync_interval": SYNCS[SYNC],
        **latencies(user, fleet, values=count),
        "syncs_per_s": syncs_per_s(0.5),
        "load": round(os.getloadavg()[0], 1),
        "settings": server_settings(),
    }


def latencies(user: User, fleet: list[SignIn], *, values: int, every_s: float = EVERY_S) -> dict:
    """The same for any fleet, whose first gateway is looked at; each sends every so often."""
    watched, *others = fleet
    appliance = Appliance.objects.get(gateway__serial=watched.serial, local_id=LOCAL_IDS[0])
    with broker(SYNC) as at:
        commands = {"link": LINK, "worker": WORKER, "beat": BEAT, "scheduler": SCHEDULER}
        with processes(commands, environ_of(at)), website() as url, visitor(url, user) as page:
            begun = to_ms(clock.now() - _BACK) // MINUTE_MS * MINUTE_MS
            with senders(mqtt_url=at.mqtt_url, sign_ins=others, start_ms=begun) as crowd:
                a_second = len(others) / every_s
                takes_s = _SETTLING_S + values * APART_S + 2
                crowd.prepare(max(1, round(takes_s * a_second)), minutes=1)
                crowd.begin(a_second=a_second)
                published, seen = _watch(page, at, watched, appliance, values)
                crowd.wait()
    took_ms = sorted(_appeared(watts, seen, sent) - sent for watts, sent in published)
    p50, p95 = percentiles(took_ms)
    return {
        "p50_ms": round(p50),
        "p95_ms": round(p95),
        "most_ms": round(took_ms[-1]),
    }


def _watch(
    page: Page, at: Addresses, sign_in: SignIn, appliance: Appliance, values: int
) -> tuple[list[tuple[int, float]], list[tuple[float, str]]]:
    """What was published (W) and when (ms since the epoch), and what the page said and when."""
    published = []
    with one_sender(mqtt_url=at.mqtt_url, sign_in=sign_in) as gateway:
        gateway.publish(power_w=1_000.0)
        page.goto(f"/systems/{appliance.system_id}")
        page.wait_for_selector(f"#appliance-{appliance.pk}")
        note_changes(page, f"#appliance-{appliance.pk} .now")
        page.wait_for_timeout(1000 * _SETTLING_S)
        for number in range(values):
            watts = 1_010 + 10 * number
            published.append((watts, time.time() * 1000))
            gateway.publish(power_w=float(watts))
            page.wait_for_timeout(1000 * APART_S)
        page.wait_for_timeout(2_000)
        return published, page.evaluate("window.seen")


def _appeared(watts: int, seen: list[tuple[float, str]], sent: float) -> float:
    """When (ms) the page said so; raises RuntimeError where it never did."""
    says = f"{watts / 1000:.2f}\u00a0kW"
    for at, text in seen:
        if says in text and at >= sent - 1:
            return at
    raise RuntimeError(f"{says} never appeared; the last was {seen[-1:]}")
