"""From the instant at which a constraint ends to what the open page of its appliance says then.

The scheduler, the web server and the browser are real, each in processes of its own, on one
machine with one clock; the appliance is one of 500 that have 60 constraints each. A page notes
when its sentence changes.
"""

import os
from datetime import UTC, datetime, timedelta

from flexibility.emitters import emitter_of
from flexibility.operations import Draft, set_constraints
from gridx import clock
from inventory.models import Appliance
from tests.benchmarks.ground import server_settings
from tests.benchmarks.preview import fill
from tests.benchmarks.site import SCHEDULER, note_changes, processes, visitor, website
from tests.benchmarks.timing import percentiles

EXPIRIES = 40
BAR_MS = 1_500
# Their instants lie anywhere within a second, as seen from the scheduler's regular sweeps.
_APART = timedelta(milliseconds=1_730)
_BEFORE = timedelta(seconds=15)


def measure(*, scale: float) -> dict:
    """Milliseconds from each end to the sentence that no longer knows the constraint."""
    count = max(5, round(EXPIRIES * scale))
    user = fill()
    appliance = Appliance.objects.order_by("key").first()
    begins = clock.now() + _BEFORE
    ends = [begins + number * _APART for number in range(1, count + 1)]
    # The tightest bound of discharging ends first, so that each end changes what is possible.
    powers_w = [1_000 + number * 10 for number in range(count)]
    with website() as url, processes({"scheduler": SCHEDULER}):
        drafts = [
            Draft(min_w=-power_w, priority=9_000, invalid_at=end)
            for power_w, end in zip(powers_w, ends, strict=True)
        ]
        set_constraints(target=appliance, drafts=drafts, emitter=emitter_of(user), now=clock.now())
        with visitor(url, user) as page:
            page.goto(f"/appliances/{appliance.pk}")
            note_changes(page, "#flexibility .lead")
            page.wait_for_timeout(1000 * ((ends[-1] - datetime.now(UTC)).total_seconds() + 3))
            seen = page.evaluate("window.seen")
    took_ms = [
        _first_without(f"{power_w / 1000:g}", seen) - end.timestamp() * 1000
        for power_w, end in zip(powers_w, ends, strict=True)
    ]
    p50, p95 = percentiles(took_ms)
    return {
        "workload": {"appliances": Appliance.objects.count(), "constraints_of_it": 61 + count},
        "expiries": count,
        "bar_ms": BAR_MS,
        "p50_ms": round(p50),
        "p95_ms": round(p95),
        "most_ms": round(max(took_ms)),
        "load": round(os.getloadavg()[0], 1),
        "settings": server_settings(),
    }


def _first_without(power: str, seen: list[tuple[float, str]]) -> float:
    """When (ms) the page said something else, having said this."""
    number = next(number for number, (_at, says) in enumerate(seen) if f" {power}\u00a0kW" in says)
    return seen[number + 1][0]
