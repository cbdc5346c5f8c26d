"""What a group may do together over time, and what is asked of all: picture, table, sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility import bars, words
from flexibility.asking import (
    ANY,
    Side,
    asked_briefly,
    digits,
    kilowatts,
    lasts,
    moment,
    span_words,
)
from flexibility.groups.timelines import GroupTimeline, group_timeline
from flexibility.resolver import OutcomeKind
from flexibility.resolving import HORIZON
from flexibility.sentences import allowed
from flexibility.stretches import thinned
from flexibility.summed import Summed
from flexibility.tallied import OUTCOMES, SharedSpan, Tally, shared_spans
from gridx.pages.limits import limit_title
from gridx.pages.lines import Tag, tag_of
from gridx.pages.sources import source_of
from gridx.pages.timeline import Entry, Row, Timeline, day_name, entry_of, rows_of
from inventory.models import Appliance, Cluster, SystemPool
from measurements.formats import number, power

PAST = timedelta(hours=24)
# Of more members the past is told where it is asked for.
MOST_WITH_PAST = 60
# Of each member the past is told in so many steps at most, and of all together.
MOST_PAST = 2000
MOST_STEPS = 40_000
# Of one thing so many tallies are told that are over, and of each so many members by name.
MOST_OVER = 20
MOST_NAMED = 8

_SIDE = Side(ANY)
_SAYS: dict[str, Promise] = {
    "binding": gettext_lazy("decides for %(n)d of %(all)d:"),
    "discarded": gettext_lazy("discarded by %(n)d of %(all)d:"),
    "redundant": gettext_lazy("kept to by %(n)d of %(all)d, where others decide:"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Those of whom one thing has the same outcome; `more` are not named."""

    says: str
    members: tuple[tuple[str, str], ...]
    more: int


@dataclass(frozen=True, slots=True)
class WhyTogether:
    """What became of one thing for a while."""

    when: str
    tag: Tag
    parts: tuple[Part, ...]


def read_together(
    group: Cluster | SystemPool, members: Sequence[Appliance], *, with_past: bool, now: datetime
) -> GroupTimeline:
    """A day back as it was known then, where that is wanted, and two days ahead."""
    return group_timeline(
        group,
        members,
        from_at=now - PAST if with_past else now,
        until_at=now + HORIZON,
        now=now,
        most_past=min(MOST_PAST, MOST_STEPS // max(len(members), 1)),
    )


def together_timeline(
    found: GroupTimeline,
    members: Sequence[Appliance],
    *,
    now: datetime,
    zone: ZoneInfo,
    chosen: UUID | None = None,
) -> Timeline | None:
    """The timeline of the sum; None where there is nothing to sum up."""
    if not found.sums:
        return None
    cut = shared_spans(found.sums, found.tallies, found.said, members=len(members))
    spans = thinned(cut)
    entries = {key: _entry(key, found) for key in found.said}
    drawn = bars.Words(
        power=digits, day=day_name, asked={key: _briefly(key, found) for key in found.said}
    )
    pictures = tuple(
        bars.draw(
            spans,
            now=now,
            zone=zone,
            words=drawn,
            shape=shape,
            chosen=str(chosen) if chosen else None,
        )
        for shape in (bars.WIDE, bars.MIDDLE, bars.NARROW)
    )
    return Timeline(
        pictures=pictures,
        entries=entries,
        rows=tuple(_rows(spans, now, zone)),
        summary=_summary([one for one in found.sums if one.until_at > now], now, zone),
        now=moment(now, now=now, zone=zone),
        zone=zone.key,
        has_measured=False,
        has_before=False,
        left_out=pictures[0].left_out,
    )


def why_together(
    found: GroupTimeline,
    members: Sequence[Appliance],
    chosen: UUID,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> dict[str, Any]:
    """For whom one thing decides, over the timeline."""
    key, names = str(chosen), {str(one.pk): one for one in members}
    tallies = [one for one in found.tallies.get(key, ()) if lasts(one.from_at, one.until_at)]
    over = [one for one in tallies if one.until_at <= now]
    told = [*over[-MOST_OVER:], *tallies[len(over) :]]
    # On its own page, a limit is there as the share that each has.
    query = "" if key in found.limits else f"?constraint={key}#why"
    return {
        "title": _entry(key, found).title if key in found.said else "",
        "lines": [
            WhyTogether(
                when=span_words(one.from_at, one.until_at, now=now, zone=zone),
                tag=tag_of(OutcomeKind(one.outcome)),
                parts=tuple(_parts(one, names, query)),
            )
            for one in told
        ],
        "left_out": len(tallies) - len(told),
    }


def _parts(one: Tally, names: Mapping[str, Appliance], query: str) -> list[Part]:
    found = []
    for outcome in OUTCOMES:
        members = sorted((names[key] for key in getattr(one, outcome)), key=lambda each: each.name)
        if members:
            counts = {"n": len(members), "all": one.count}
            links = (
                (each.name, reverse("appliance", args=[each.pk]) + query)
                for each in members[:MOST_NAMED]
            )
            more = max(len(members) - MOST_NAMED, 0)
            found.append(Part(str(_SAYS[outcome]) % counts, tuple(links), more))
    return found


def _entry(key: str, found: GroupTimeline) -> Entry:
    said = found.said[key]
    if key not in found.limits:
        return entry_of(said, _SIDE)
    limit = found.limits[key]
    lane = f"{source_of(limit).lane} · {number(said['priority'], 0)}"
    return Entry(limit_title(limit), lane, said["emitter"])


def _briefly(key: str, found: GroupTimeline) -> str:
    limit = found.limits.get(key)
    if limit is not None and limit.max_w is None and limit.min_w is None:
        return limit_title(limit)
    if limit is not None:
        return asked_briefly({"min_w": limit.min_w, "max_w": limit.max_w}, _SIDE)
    return asked_briefly(found.said[key], _SIDE)


def _rows(spans: Sequence[SharedSpan], now: datetime, zone: ZoneInfo) -> list[Row]:
    told = ((one.from_at, one.until_at, _said(one), _deciders(one)) for one in spans)
    return rows_of(told, now=now, zone=zone)


def _said(span: SharedSpan) -> str:
    """ "−5.00 kW to 27.0 kW" """
    low, high = span.boundary.min_w, span.boundary.max_w
    if low is None or high is None:
        return allowed(span.boundary, _SIDE)
    return _("%(low)s to %(high)s") % {"low": power(low), "high": power(high)}


def _deciders(span: SharedSpan) -> str:
    """ "the fleet manager for 3 of 5" """
    return words.listed(
        [
            _("%(who)s for %(n)d of %(all)d")
            % {
                "who": words.EMITTERS[one["emitter"]],
                "n": one["decides_for"],
                "all": one["concerns"],
            }
            for one in sorted(span.inputs, key=lambda one: -one["priority"])
            if one["decides_for"]
        ]
    )


def _summary(found: Sequence[Summed], now: datetime, zone: ZoneInfo) -> str:
    """What they may take at most now, and when that is least or, if never less, most."""
    known = [one for one in found if one.max_w is not None]
    if not known:
        return _("Nobody said how much they may take together.")
    first = known[0]
    other = min(known, key=lambda one: one.max_w)
    says = _("Together they may take up to %(now)s now, least from %(when)s: %(then)s.")
    if other.max_w >= first.max_w:
        other = max(known, key=lambda one: one.max_w)
        says = _("Together they may take up to %(now)s now, most from %(when)s: %(then)s.")
    if other.max_w == first.max_w:
        says = _("Together they may take up to %(now)s, for the next two days.")
    return says % {
        "now": kilowatts(round(first.max_w, -2)),
        "then": kilowatts(round(other.max_w, -2)),
        "when": moment(other.from_at, now=now, zone=zone),
    }
