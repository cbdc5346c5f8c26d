"""The figures of a period in one sentence, in the active language."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from measurements.formats import energy, number, percent

ORIGINS = ("pv", "battery", "grid")


def origin_shares(figures: Any) -> list[tuple[str, float]]:
    """(pv, battery or grid; its share of what was used), without those of no part.

    At last "unmetered", for what was used while no meter told its origin. Empty where no origin is
    known or nothing was used.
    """
    parts = [(origin, getattr(figures, f"{origin}_to_load_mwh") or 0) for origin in ORIGINS]
    if not any(mwh for _origin, mwh in parts):
        return []
    parts.append(("unmetered", figures.unmetered_mwh or 0))
    whole = sum(mwh for _origin, mwh in parts)
    return [(origin, mwh / whole) for origin, mwh in parts if mwh]


def origin_parts(figures: Any) -> tuple[str, ...]:
    """Where what was used came from: "72 % sun", "14 % battery", "14 % grid"."""
    words = {
        "pv": _("%(share)s sun"),
        "battery": _("%(share)s battery"),
        "grid": _("%(share)s grid"),
        "unmetered": _("%(share)s of unknown origin"),
    }
    return tuple(
        words[origin] % {"share": percent(share)} for origin, share in origin_shares(figures)
    )


def summary(figures: Any | None) -> str:
    """What happened: produced, used and from where, fed into the grid; only what is known."""
    if figures is None:
        return _("Nothing was measured.")
    sentences = [_made_and_used(figures.pv_mwh, figures.consumption_mwh, _origins(figures))]
    if figures.export_mwh:
        sentences.append(
            _("%(energy)s went into the grid.") % {"energy": energy(figures.export_mwh)}
        )
    return " ".join(filter(None, sentences)) or _("Too little is measured here for a summary.")


def systems_seen(figures: Any | None) -> str:
    """Of a pool: "41 of 43 systems seen."; empty of all else."""
    count = getattr(figures, "systems", None)
    if count is None:
        return ""
    words = ngettext(
        "%(seen)s of %(count)s system seen.", "%(seen)s of %(count)s systems seen.", count
    )
    return words % {"seen": number(figures.systems_seen, 0), "count": number(count, 0)}


def _made_and_used(pv_mwh: int | None, used_mwh: int | None, origins: str) -> str:
    given = {
        "produced": None if pv_mwh is None else energy(pv_mwh),
        "used": None if used_mwh is None else energy(used_mwh),
        "origins": origins,
    }
    if pv_mwh is None and used_mwh is None:
        return ""
    if used_mwh is None:
        return _("%(produced)s produced.") % given
    if pv_mwh is None:
        if origins:
            return _("%(used)s used: %(origins)s.") % given
        return _("%(used)s used.") % given
    if origins:
        return _("%(produced)s produced, %(used)s used: %(origins)s.") % given
    return _("%(produced)s produced, %(used)s used.") % given


def _origins(figures: Any) -> str:
    shares = origin_shares(figures)
    if len(shares) == 1:
        return {
            "pv": _("all of it from the sun"),
            "battery": _("all of it from the battery"),
            "grid": _("all of it from the grid"),
        }[shares[0][0]]
    words = {
        "pv": _("%(share)s from the sun"),
        "battery": _("%(share)s from the battery"),
        "grid": _("%(share)s from the grid"),
        "unmetered": _("%(share)s of unknown origin"),
    }
    return ", ".join(words[origin] % {"share": percent(share)} for origin, share in shares)
