"""How figures came about, in words and addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from gridx.pages import dates
from gridx.pages.shown import Shown, Zoom
from inventory.models import Appliance, Cluster, System, SystemPool
from measurements.derivation import NAMES, Formula, Rule, Term
from measurements.formats import MINUS, number
from measurements.models import DayChange
from measurements.queries import Row
from measurements.words import FIGURES, causes_in_words

# More appliances than these are counted, not named.
NAMED_AT_MOST = 12


# The pages that tell how a figure came about.
FIGURE_PAGES = {System: "figure", Cluster: "cluster_figure", SystemPool: "pool_figure"}


def figure_url(
    subject: System | Cluster | SystemPool, name: str, period: Shown, *, day=None, zoom=None
) -> str:
    """The address of how a figure of the period came about, or of another day or zoom."""
    asked = {"date": (day or period.day).isoformat()}
    if (zoom or period.zoom) is not Zoom.DAY:
        asked = {"resolution": (zoom or period.zoom).value} | asked
    address = reverse(FIGURE_PAGES[type(subject)], args=[subject.pk, name])
    return f"{address}?{urlencode(asked)}"


def figure_frame(
    subject: System | Cluster | SystemPool, name: str, period: Shown, total: Row | None
) -> dict[str, Any]:
    """What every page about a figure of a period says of it, of its `total`, and where one can go
    from it."""
    return {
        "name": name,
        "period": period,
        "title": dates.title_of(period),
        "when": dates.when_of(period),
        "zone": period.zone.key,
        "span_label": dates.spans_name(period),
        "choices": [
            (label, figure_url(subject, name, period, zoom=zoom), zoom is period.zoom)
            for zoom, label in dates.zoom_names().items()
        ],
        "previous": period.previous and figure_url(subject, name, period, day=period.previous),
        "next": period.next and figure_url(subject, name, period, day=period.next),
        "mwh": total and total[f"{name}_mwh"],
        "others": [
            (other, total[f"{other}_mwh"], figure_url(subject, other, period))
            for other in NAMES
            if total and other != name and total[f"{other}_mwh"] is not None
        ],
    }


def figure_slot_url(system: System, name: str, start: datetime) -> str:
    return reverse("figure_slot", args=[system.pk, name, start])


def readings_url(system: System, appliance: Appliance, start: datetime) -> str:
    """The address of the readings of one slot of an appliance in the system."""
    return reverse("readings", args=[system.pk, appliance.pk, start])


def appliance_day_url(system: System, appliance: Appliance, day: date) -> str:
    """The address of what an appliance measured in the system on a local day."""
    address = reverse("appliance_energy", args=[system.pk, appliance.pk])
    return f"{address}?{urlencode({'date': day.isoformat()})}"


def appliance_name(appliance: Appliance, system: System) -> str:
    """Its name; of one that is somewhere else by now only what it is, since its name is theirs."""
    if appliance.system_id == system.pk:
        return appliance.name
    return appliance.get_kind_display()


@dataclass(frozen=True, slots=True)
class Change:
    """A receipt: which day changed when, from what to what (mWh), and why."""

    day: str
    when: str
    before: int | None
    after: int | None
    why: str

    @property
    def by(self) -> int:
        """By how much; what there was no statement of counts as nothing."""
        return (self.after or 0) - (self.before or 0)


def change_of(receipt: DayChange, name: str, system: System) -> Change:
    """What a receipt says of one figure."""
    before, after = receipt.changes[name]
    changed = receipt.changed_at.astimezone(system.zone)
    return Change(
        dates.day_name(receipt.start.astimezone(system.zone).date()),
        f"{dates.day_name(changed.date())}, {changed:%H:%M}",
        before,
        after,
        causes_in_words(receipt.causes),
    )


def signs(terms: Sequence[Term]) -> list[str]:
    """The sign before each term of a sum; none before a first one that is added."""
    return [
        "" if not place and term.sign > 0 else "+" if term.sign > 0 else MINUS
        for place, term in enumerate(terms)
    ]


def formula_words(name: str, formula: Formula) -> str:
    """ "Total consumption = solar production + …"; empty where appliances measure it."""
    if not formula.terms:
        return ""
    words = f"{FIGURES[name]} = {_sum_words(formula.terms)}"
    if formula.least is not None:
        words = _("%(sum)s, but not less than 0") % {"sum": words}
    if formula.most:
        words = _("%(sum)s, but not more than %(most)s") % {
            "sum": words,
            "most": _sum_words(formula.most),
        }
    return words


def _sum_words(terms: Sequence[Term]) -> str:
    parts = [
        f"{sign} {FIGURES[term.name]}".strip()
        for sign, term in zip(signs(terms), terms, strict=True)
    ]
    return " ".join(parts)


def rule_sentence(formula: Formula, names: Sequence[str] = ()) -> str:
    """By which rule a figure came about; `names` are those of the appliances that measured it."""
    match formula.rule:
        case Rule.MEASURED if len(names) == 1:
            return _("Measured by %(name)s.") % {"name": names[0]}
        case Rule.MEASURED if len(names) > NAMED_AT_MOST:
            return _("The sum of what %(n)s appliances measured.") % {"n": number(len(names), 0)}
        case Rule.MEASURED:
            return _("The sum of what was measured by %(names)s.") % {"names": ", ".join(names)}
        case Rule.BY_HOUSE:
            return _(
                "The meter at the grid was not read: this follows from the household's meter, as "
                "what the other appliances leave over for the grid."
            )
        case Rule.BALANCE:
            return _(
                "What came in, less what went out. The residual is 0 or negative: what was used, "
                "stored or fed in beyond what any source gave, because clocks differ or a part "
                "was not read."
            )
        case Rule.CONSUMERS:
            return _(
                "No meter of the grid or the household was read here: this is what the known "
                "consumers used."
            )
        case Rule.REST:
            return _("A total, less its other parts.")
        case Rule.SPLIT:
            return _(
                "Where the energy of each source went is worked out slot by slot: the battery "
                "feeds in only what the sun does not, and charges from the grid only what the "
                "sun does not give."
            )
    raise ValueError(f"No words for {formula.rule}")
