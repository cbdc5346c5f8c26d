"""The proof of a dimming: how fast, how high and how well measured a power was. Pure.

Powers in W, positive into the appliance or into the site.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

# A power up to so much above the limit is the meter's accuracy, not a breach.
TOLERANCE_W = 100.0
# Between readings further apart than this, nothing was measured.
LONGEST_GAP = timedelta(minutes=2)

# When and what was measured, in W; None where nothing was.
Sample = tuple[datetime, float | None]


def reaction_time_s(
    samples: Sequence[Sample],
    limit_w: float,
    started_at: datetime,
    *,
    tolerance_w: float = TOLERANCE_W,
) -> float | None:
    """After how many seconds of dimming the measured power was, and stayed, within the limit.

    Until the first sample that no excess follows: so it may be up to one interval of readings too
    long, but is never too short. 0 where it was within it before, too (`samples` of then told so
    not long ago). None where that never was, and without any sample.
    """
    during = list(_measured(samples, started_at))
    settled_at = None
    *_, before = [None, *_measured(samples, started_at - LONGEST_GAP, started_at)]
    if during and before is not None and before[1] <= limit_w + tolerance_w:
        settled_at = started_at
    for at, power in during:
        if power > limit_w + tolerance_w:
            settled_at = None
        elif settled_at is None:
            settled_at = at
    return None if settled_at is None else (settled_at - started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a proof says of one dimming.

    `reaction_s`: see `reaction_time_s`. `highest_w`: the highest power measured since then, or
    since the start where it never stayed within the limit; None where nothing was measured.
    `measured_share`: the part of the time that lies between samples close enough, 0–1.
    """

    reaction_s: float | None
    highest_w: float | None
    measured_share: float


def evidence(
    samples: Sequence[Sample],
    limit_w: float,
    *,
    started_at: datetime,
    ended_at: datetime,
) -> Evidence:
    """The proof of a dimming to one limit during [`started_at`, `ended_at`), from what was
    measured before, then and after it."""
    if started_at >= ended_at:
        raise ValueError("A dimming ends after it has started.")
    until_then = [sample for sample in samples if sample[0] < ended_at]
    reaction = reaction_time_s(until_then, limit_w, started_at)
    since = started_at + timedelta(seconds=reaction or 0.0)
    return Evidence(
        reaction_s=reaction,
        highest_w=max((power for _, power in _measured(until_then, since)), default=None),
        measured_share=_measured_share(samples, started_at, ended_at),
    )


def _measured(
    samples: Sequence[Sample], from_at: datetime, until_at: datetime | None = None
) -> Iterator[tuple[datetime, float]]:
    """The samples in [`from_at`, `until_at`) that say something, in the order of time."""
    for at, power in sorted(samples, key=lambda sample: sample[0]):
        is_in_time = at >= from_at and (until_at is None or at < until_at)
        if is_in_time and power is not None:
            yield at, power


def _measured_share(samples: Sequence[Sample], from_at: datetime, until_at: datetime) -> float:
    instants = sorted(at for at, power in samples if power is not None)
    covered = timedelta()
    for at, following in pairwise(instants):
        if following - at <= LONGEST_GAP:
            covered += max(min(following, until_at) - max(at, from_at), timedelta())
    return covered / (until_at - from_at)


def net_draw(members: Sequence[Sequence[Sample]], meter: Sequence[Sample]) -> list[Sample]:
    """What appliances together draw from the grid, whenever one of them was measured.

    It is what they draw, but no more than what the whole site does (`meter`, where that was
    measured): the rest is the site's own production. What one feeds in counts as nothing drawn.
    None where one of them was not measured for longer than `LONGEST_GAP`.
    """
    ordered = [sorted(samples) for samples in (*members, meter)]
    newest = [-1] * len(ordered)
    found: list[Sample] = []
    for at in sorted({at for samples in members for at, _ in samples}):
        for place, samples in enumerate(ordered):
            while newest[place] + 1 < len(samples) and samples[newest[place] + 1][0] <= at:
                newest[place] += 1
        *drawn, site = (
            _fresh(samples[place], at) if place >= 0 else None
            for samples, place in zip(ordered, newest, strict=True)
        )
        if None in drawn:
            found.append((at, None))
            continue
        total = sum(max(power, 0.0) for power in drawn)
        found.append((at, total if site is None else min(total, max(site, 0.0))))
    return found


def _fresh(sample: Sample, at: datetime) -> float | None:
    return sample[1] if at - sample[0] <= LONGEST_GAP else None
