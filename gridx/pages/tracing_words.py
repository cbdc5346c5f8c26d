"""How the energy of a slot follows from readings, in words."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from gridx.pages import dates
from measurements.evidence import is_late
from measurements.formats import number, watt_hours
from measurements.models import Reading
from measurements.resolutions import from_ms
from measurements.tracing import CounterAt, Source, Stretch, Trace, Treatment


def energy_sentences(trace: Trace, zone: ZoneInfo) -> list[str]:
    """How what flowed in, and what flowed out, follows; nothing where nothing is known."""
    return [sentence for direction in (0, 1) for sentence in _of_direction(trace, direction, zone)]


def _of_direction(trace: Trace, direction: int, zone: ZoneInfo) -> Iterator[str]:
    total = trace.total_mwh(direction)
    if total is None:
        return
    given: dict[Source, int] = {}
    for stretch in trace.stretches:
        source, mwh = stretch.sources[direction], stretch.mwh[direction]
        if source is not None and mwh is not None:
            given[source] = given.get(source, 0) + mwh
    for source, mwh in given.items():
        if source is Source.COUNTER:
            yield from _of_counter(trace, direction, mwh, zone)
        else:
            yield _by_source(source, direction) % {"energy": _wh(mwh)}
    if len(given) > 1:
        words = {0: _("Together %(energy)s flowed in."), 1: _("Together %(energy)s flowed out.")}
        yield words[direction] % {"energy": _wh(total)}


def _of_counter(trace: Trace, direction: int, mwh: int, zone: ZoneInfo) -> Iterator[str]:
    ends = trace.counters[direction]
    if ends is None:
        words = {
            0: _("The counter of what flows in rose by %(energy)s, as far as it was read."),
            1: _("The counter of what flows out rose by %(energy)s, as far as it was read."),
        }
        yield words[direction] % {"energy": _wh(mwh)}
        return
    words = {
        0: _("In: the counter went from %(begin)s to %(end)s, which is %(energy)s."),
        1: _("Out: the counter went from %(begin)s to %(end)s, which is %(energy)s."),
    }
    begin, end = ends
    if begin.level_wh == end.level_wh:
        stood = {
            0: _("In: the counter stood at %(level)s."),
            1: _("Out: the counter stood at %(level)s."),
        }
        yield stood[direction] % {"level": _level(begin.level_wh)}
        return
    yield words[direction] % {
        "begin": _level(begin.level_wh),
        "end": _level(end.level_wh),
        "energy": _wh(mwh),
    }
    start = from_ms(begin.at_ms)
    yield from (_around(one, start, zone) for one in ends if one.before[0] != one.after[0])


def _around(one: CounterAt, start: datetime, zone: ZoneInfo) -> str:
    """How a level of a slot that begins at `start` follows from the readings around it."""
    (before_ms, before_wh), (after_ms, after_wh) = one.before, one.after
    at, before_at, after_at = (
        dates.instant_name(from_ms(ms), zone, beside=start)
        for ms in (one.at_ms, before_ms, after_ms)
    )
    return _(
        "Its level at %(at)s lies on the line between %(before)s at %(before_at)s and %(after)s "
        "at %(after_at)s."
    ) % {
        "at": at,
        "before": _level(before_wh),
        "before_at": before_at,
        "after": _level(after_wh),
        "after_at": after_at,
    }


def _by_source(source: Source, direction: int) -> str:
    return {
        (Source.INTERVAL, 0): _("In: interval readings tell %(energy)s."),
        (Source.INTERVAL, 1): _("Out: interval readings tell %(energy)s."),
        (Source.POWER, 0): _(
            "In: the power, on straight lines between its readings, adds up to %(energy)s."
        ),
        (Source.POWER, 1): _(
            "Out: the power, on straight lines between its readings, adds up to %(energy)s."
        ),
    }[source, direction]


def source_words(source: Source, stretch: Stretch) -> str:
    """What tells of a stretch."""
    if source is Source.COUNTER and stretch.is_estimated:
        return _("counter, spread evenly over a long pause")
    return {
        Source.COUNTER: _("counter"),
        Source.INTERVAL: _("interval reading"),
        Source.POWER: _("power"),
    }[source]


def notes_of(
    reading: Reading | None, at_ms: int, trace: Trace | None, bounds: Sequence[int]
) -> tuple[str, ...]:
    """What to know about a line of the readings of a slot, which has these bounds (ms)."""
    if reading is None:
        words = {bounds[0]: _("the slot begins"), bounds[1]: _("the slot ends")}
        return (words.get(at_ms) or _("an interval ends"),)
    notes = []
    if at_ms == bounds[1]:
        notes.append(_("the slot ends"))
    elif at_ms < bounds[0]:
        notes.append(_("before the slot"))
    elif at_ms > bounds[1]:
        notes.append(_("after the slot"))
    treatment = trace.treatments.get(at_ms) if trace else None
    if treatment is not None:
        notes.append(_treatment_words(treatment))
    if is_late(reading):
        notes.append(_("arrived late"))
    if reading.interval_s:
        notes.append(_("of %(seconds)s s") % {"seconds": reading.interval_s})
    return tuple(notes)


def _treatment_words(treatment: Treatment) -> str:
    return {
        Treatment.RESET: _("counter began anew"),
        Treatment.JUMP: _("counter jumped, counted on from here"),
        Treatment.RETURN: _("counter came back to its old level"),
        Treatment.HELD: _("implausible, held back"),
        Treatment.STEEP: _("more than its stated power, counted all the same"),
    }[treatment]


def _wh(mwh: int) -> str:
    return f"{watt_hours(mwh)}\N{NO-BREAK SPACE}Wh"


def _level(wh: float) -> str:
    return f"{number(wh, 3)}\N{NO-BREAK SPACE}Wh"
