"""An appliance's timeline: what was asked of it and what remained, as pictures, table, sentence."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from flexibility import bars, words
from flexibility.asking import Side, asked_briefly, digits, lasts, moment, side_of, spans_words
from flexibility.bars import Measured, Picture
from flexibility.queries import Span, timeline_of
from flexibility.resolving import HORIZON
from flexibility.sentences import EMITTERS, foreseen, outlook, priority_words
from flexibility.stretches import thinned
from gridx.pages.sources import Source, title_of
from inventory.models import Appliance
from measurements.formats import number
from measurements.models import ApplianceSlot
from measurements.resolutions import SLOT

PAST = timedelta(hours=24)
# More changes in a day could not be told apart.
MOST_PAST = 240


@dataclass(frozen=True, slots=True)
class Entry:
    """A constraint as the pictures name it."""

    title: str
    lane: str
    emitter: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: when, what was allowed, who decided it."""

    from_at: datetime
    until_at: datetime
    when: str
    what: str
    by: str
    is_now: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the fragment shows. `entries` by the ids of constraints."""

    pictures: tuple[Picture, ...]
    entries: Mapping[str, Entry]
    rows: tuple[Row, ...]
    summary: str
    now: str
    zone: str
    has_measured: bool
    has_before: bool
    left_out: int


def spans_around(appliance: Appliance, *, now: datetime) -> list[Span]:
    """A day back as it was known then, and two days ahead, as fine as it can be shown."""
    spans = timeline_of(
        appliance=appliance,
        from_at=now - PAST,
        until_at=now + HORIZON,
        now=now,
        most_past=MOST_PAST,
    )
    return thinned(spans)


def timeline_context(
    appliance: Appliance,
    spans: Sequence[Span],
    *,
    now: datetime,
    zone: ZoneInfo,
    before: Sequence[Span] = (),
    new: Collection[str] = (),
    chosen: str | None = None,
    sources: Mapping[str, Source] | None = None,
    shapes: Sequence[bars.Shape] = (bars.WIDE, bars.MIDDLE, bars.NARROW),
) -> Timeline:
    """The timeline of consecutive spans; `before` is the same time without those that are new.

    `sources`: where the shares of limits among what is asked come from, by their ids.
    """
    side = side_of(appliance.kind)
    inputs = {one["id"]: one for span in (*before, *spans) for one in span.inputs}
    sources = sources or {}
    entries = {
        identity: entry_of(one, side, identity in new, sources.get(identity))
        for identity, one in inputs.items()
    }
    measured = _measured(appliance, spans[0].from_at, now)
    drawn = bars.Words(
        power=digits,
        day=day_name,
        asked=_labels([*before, *spans], inputs, side, now),
    )
    pictures = tuple(
        bars.draw(
            spans,
            now=now,
            zone=zone,
            words=drawn,
            shape=shape,
            sign=side.sign,
            before=before,
            measured=measured,
            limits_w=(appliance.min_power_w, appliance.max_power_w),
            new=new,
            chosen=chosen,
        )
        for shape in shapes
    )
    return Timeline(
        pictures=pictures,
        entries=entries,
        rows=tuple(
            rows_of(
                (
                    (one.from_at, one.until_at, foreseen(one, side, now=now), deciders_of(one))
                    for one in spans
                ),
                now=now,
                zone=zone,
            )
        ),
        summary=outlook(spans, side, now=now, zone=zone),
        now=moment(now, now=now, zone=zone),
        zone=zone.key,
        has_measured=bool(measured),
        has_before=bool(before),
        left_out=pictures[0].left_out,
    )


def _labels(
    spans: Iterable[Span], inputs: Mapping[str, Mapping[str, Any]], side: Side, now: datetime
) -> dict[str, str]:
    """What is asked, by id; of what asks for other things over time what it asks for now.

    What a policy asks for now holds for minutes only, a bar too short for words. The long one
    behind it, of what holds if nobody asks again, tells of both: alone it would pass for now.
    """
    of_now = [span for span in spans if span.from_at <= now < span.until_at]
    holding = {one["id"]: one for span in of_now for one in span.inputs}
    of_policies = {one["policy"]: one for one in holding.values() if one.get("policy")}
    found = {one: asked_briefly(asked, side) for one, asked in (inputs | holding).items()}
    for identity, one in inputs.items():
        asks_now = of_policies.get(one.get("policy"))
        if one.get("fallback") and asks_now is not None and not asks_now.get("fallback"):
            says = {"now": found[asks_now["id"]], "later": found[identity]}
            if says["now"] != says["later"]:
                found[identity] = _("now %(now)s, else %(later)s") % says
    return found


def entry_of(
    one: Mapping[str, Any], side: Side, is_new: bool = False, source: Source | None = None
) -> Entry:
    """A constraint as it is named beside its bar; a share by where it comes from."""
    lane = source.lane if source else _("new") if is_new else str(EMITTERS[one["emitter"]])
    if one["emitter"] != bars.DRIVER:
        lane = f"{lane} · {number(one['priority'], 0)}"
    return Entry(title_of(one["emitter"], one, side, source), lane, one["emitter"])


def rows_of(
    told: Iterable[tuple[datetime, datetime, str, str]], *, now: datetime, zone: ZoneInfo
) -> list[Row]:
    """The table's rows of spans in order, each told by what was allowed and who decided it."""
    found: list[tuple[datetime, datetime, str, str]] = []
    for start, end, what, by in told:
        if not lasts(start, end):
            continue
        is_same = bool(found) and found[-1][2:] == (what, by)
        found.append((found.pop()[0] if is_same else start, end, what, by))
    words = spans_words([(start, end) for start, end, *_said in found], now=now, zone=zone)
    return [
        Row(start, end, when, what, by, start <= now < end)
        for (start, end, what, by), when in zip(found, words, strict=True)
    ]


def deciders_of(span: words.Holding) -> str:
    """Who decides what holds: "the fleet manager and the resident"."""
    kinds = {one["id"]: one["emitter"] for one in span.inputs}
    named = [words.EMITTERS[kinds[one]] for one in span.deciders.values() if one in kinds]
    return words.listed(list(dict.fromkeys(map(str, named))))


def _measured(appliance: Appliance, from_at: datetime, until_at: datetime) -> list[Measured]:
    slots = ApplianceSlot.objects.filter(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        start__gte=from_at,
        # What a slot that is not over has so far would be shared over all of it.
        start__lte=until_at - SLOT,
    ).order_by("start")
    hours = SLOT / timedelta(hours=1)
    return [
        Measured(start, start + SLOT, ((taken or 0) - (given or 0)) / 1000 / hours)
        for start, taken, given in slots.values_list("start", "import_mwh", "export_mwh")
        if taken is not None or given is not None
    ]


def day_name(day: date) -> str:
    """ "Thu 26 Nov" """
    # Translators: as in "Thu 26 Nov"; Django's date format characters
    return date_format(day, pgettext("date format", "D j M"))


def priority_line(kind: str, priority: int) -> str:
    """ "priority 3,000, the usual one" """
    return _("priority %(priority)s") % {"priority": priority_words(kind, priority)}
