"""What a group may do together over the next two days: picture, table, sentence."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from flexibility import bars
from flexibility.queries import Span, summed_timeline
from flexibility.resolver import Boundary
from flexibility.sentences import ANY, Side, allowed, digits, kilowatts, moment
from flexibility.summed import Summed
from gridx.pages.timeline import Row, Timeline, day_name
from inventory.models import Appliance
from measurements.formats import power


def together_timeline(
    appliances: Sequence[Appliance], *, now: datetime, zone: ZoneInfo
) -> Timeline | None:
    """The timeline of the sum, without bars; None where there is nothing to sum up."""
    found = summed_timeline(appliances=appliances, from_at=now)
    if not found:
        return None
    spans = bars.thinned([_span(one) for one in found])
    drawn = bars.Words(power=digits, day=day_name, asked={})
    pictures = tuple(
        bars.draw(spans, now=now, zone=zone, words=drawn, shape=shape)
        for shape in (bars.WIDE, bars.MIDDLE, bars.NARROW)
    )
    return Timeline(
        pictures=pictures,
        entries={},
        rows=tuple(_rows(found, now, zone)),
        summary=_summary(found, now, zone),
        now=moment(now, now=now, zone=zone),
        zone=zone.key,
        has_measured=False,
        has_before=False,
        left_out=0,
    )


def _span(one: Summed) -> Span:
    boundary = Boundary(min_w=one.min_w, max_w=one.max_w)
    return Span(one.from_at, one.until_at, boundary, {}, ())


def _rows(found: Sequence[Summed], now: datetime, zone: ZoneInfo) -> list[Row]:
    return [
        Row(
            from_at=one.from_at,
            until_at=one.until_at,
            when=f"{moment(one.from_at, now=now, zone=zone)} – "
            f"{moment(one.until_at, now=now, zone=zone)}",
            what=_said(one),
            by="",
            is_now=one.from_at <= now < one.until_at,
        )
        for one in found
    ]


def _said(one: Summed) -> str:
    """ "−5.00 kW to 27.0 kW" """
    if one.min_w is None or one.max_w is None:
        bounds = Boundary(min_w=one.min_w, max_w=one.max_w, set_point_w=one.set_point_w)
        return allowed(bounds, Side(ANY))
    return _("%(low)s to %(high)s") % {"low": power(one.min_w), "high": power(one.max_w)}


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
