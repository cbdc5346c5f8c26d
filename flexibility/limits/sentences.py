"""Shared limits in words."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from flexibility.allotment import Side
from flexibility.limits.balancing import Broken
from flexibility.sentences import kilowatts, moment


def broken_words(one: Broken, *, now: datetime, zone: ZoneInfo) -> str:
    """ "The limit of “Depot”, 20 kW, could not be kept: 2.08 kW too much." """
    values = {"name": one.limit.target, "what": _limit_words(one)}
    if one.over_w is None:
        told = _(
            "The limit of “%(name)s”, %(what)s, could not be kept for certain: of who is not heard"
            " nobody knows the power."
        )
    else:
        values["over"] = kilowatts(round(one.over_w, -1))
        told = _("The limit of “%(name)s”, %(what)s, could not be kept: %(over)s too much.")
    if one.valid_at <= now:
        return told % values
    when = moment(one.valid_at, now=now, zone=zone)
    return _("From %(when)s on: %(what)s") % {"when": when, "what": told % values}


def _limit_words(one: Broken) -> str:
    """ "20 kW", "6 kW on phase 1" """
    limit = one.limit
    if one.side is Side.MIN:
        return _("%(power)s fed in") % {"power": kilowatts(-limit.min_w)}
    if one.phase is None:
        return kilowatts(limit.max_w)
    power = kilowatts(limit.phase_max_w[one.phase - 1])
    return _("%(power)s on phase %(phase)s") % {"power": power, "phase": one.phase}
