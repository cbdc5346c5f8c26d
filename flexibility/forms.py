"""The form of a constraint: what it asks for in kW and kWh, when, and how strong it is."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.widgets import DayInput
from accounts.wire_fields import YEARS
from flexibility.bars import sides
from flexibility.changes import ChangeForm
from flexibility.emitters import Emitter, UnableToConstrain, ceiling, default_priority, floor
from flexibility.fields import EnergyField, PowerField, as_typed
from flexibility.models import Constraint, Series, SharedLimit
from flexibility.operations import Draft
from flexibility.priorities import PriorityForm
from flexibility.resolver import Boundary, EmitterKind
from flexibility.sentences import Side, priority_choices
from flexibility.series.operations import Part, SeriesDraft, series_draft_of
from flexibility.series.recurrence import Frame, instant
from flexibility.series.sentences import last_day
from flexibility.validity import ValidityForm
from inventory.models import Appliance

ONCE, WEEKLY = "once", "weekly"
_DAY = timedelta(days=1)
_WORKDAYS = (0, 1, 2, 3, 4)
_LONG = timedelta(days=90)
# The fields that show parts of a draft.
_FIELDS = {
    "min_w": "least",
    "max_w": "greatest",
    "set_point_w": "point",
    "min_wh": "least_energy",
    "max_wh": "greatest_energy",
    "valid_at": "begin_at",
    "invalid_at": "end_at",
    "priority": "priority",
    "weekdays": "weekdays",
    "parts": "starts",
    "from_at": "first_day",
    "until_at": "last_day",
}


class ConstraintForm(ChangeForm, PriorityForm, ValidityForm):
    """A constraint of a target in the time zone `zone`, looked at from `side`.

    `kinds` are those of a group's members (value and name); of one appliance there are none. With
    `changed`, a constraint or a series that stands, it is filled with that and cannot become the
    other. Bound and valid, `asked` is what it asks for.
    """

    least = PowerField(label=gettext_lazy("At least"))
    greatest = PowerField(label=gettext_lazy("At most"))
    point = PowerField(label=gettext_lazy("Set point"))
    # Not named `closest`: in browsers it would take the place of the form's method of that name.
    bends = forms.BooleanField(
        label=gettext_lazy("or as close as allowed"), required=False, initial=True
    )
    least_energy = EnergyField(label=gettext_lazy("Hold at least"))
    greatest_energy = EnergyField(label=gettext_lazy("Hold at most"))
    repeats = forms.ChoiceField(
        label=gettext_lazy("How often"), widget=forms.RadioSelect, initial=ONCE, required=False
    )
    weekdays = forms.TypedMultipleChoiceField(
        label=gettext_lazy("On which days"),
        widget=forms.CheckboxSelectMultiple,
        coerce=int,
        required=False,
        initial=_WORKDAYS,
    )
    starts = forms.TimeField(
        label=gettext_lazy("From"),
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        required=False,
        initial=time(17),
    )
    stops = forms.TimeField(
        label=gettext_lazy("Until"),
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        required=False,
        initial=time(20),
    )
    first_day = forms.DateField(label=gettext_lazy("First day"), required=False, widget=DayInput)
    last_day = forms.DateField(label=gettext_lazy("Last day"), required=False, widget=DayInput)
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("For which"), widget=forms.CheckboxSelectMultiple
    )

    def __init__(
        self,
        *args,
        emitter: Emitter,
        zone: ZoneInfo,
        now: datetime,
        side: Side,
        kinds: Sequence[tuple[str, str]] = (),
        changed: Constraint | Series | None = None,
        **kwargs,
    ) -> None:
        is_once = isinstance(changed, Constraint)
        kept = (changed.valid_at, changed.invalid_at) if is_once else None
        super().__init__(*args, zone=zone, now=now, kept=kept, **kwargs)
        self._side, self.changed = side, changed
        self.fields["repeats"].choices = [(ONCE, _("once")), (WEEKLY, _("every week"))]
        self.fields["weekdays"].choices = list(WEEKDAYS_ABBR.items())
        if kinds:
            self.fields["kinds"].choices = kinds
            self.fields["kinds"].error_messages["required"] = _("Choose at least one kind.")
        else:
            del self.fields["kinds"]
        today = now.astimezone(zone).date()
        self.initial = {
            "first_day": today,
            "last_day": today + _LONG,
            "kinds": [kind for kind, _name in kinds],
            **(_shown(changed, side) if changed is not None else {}),
            **self.initial,
        }
        offer_priorities(self, emitter.kind, changed)

    @property
    def is_weekly(self) -> bool:
        """Whether it is to come again every week."""
        if self.changed is not None:
            return isinstance(self.changed, Series)
        return self.cleaned_data.get("repeats") == WEEKLY

    @property
    def is_of_series(self) -> bool:
        """Whether a series is changed."""
        return isinstance(self.changed, Series)

    @property
    def asked(self) -> Draft | SeriesDraft:
        """What is asked for, once or again and again."""
        return self.series_draft if self.is_weekly else self.draft

    @property
    def draft(self) -> Draft:
        """What is asked for once."""
        cleaned = self.cleaned_data
        return Draft(
            id=self.changed.pk if isinstance(self.changed, Constraint) else None,
            valid_at=cleaned["valid_at"],
            invalid_at=cleaned["invalid_at"],
            priority=cleaned["priority"],
            kinds=self._kinds(),
            **self._amounts(),
        )

    @property
    def series_draft(self) -> SeriesDraft:
        """What is asked for again and again."""
        cleaned = self.cleaned_data
        frame = Frame(cleaned["starts"], cleaned["stops"])
        # What goes on after midnight ends on the day after the last one.
        last = cleaned["last_day"] + _DAY
        goes_on = frame.ends != time() and frame.ends <= frame.begins
        return SeriesDraft(
            parts=(Part(frame=frame, asks=Draft(**self._amounts())),),
            from_at=instant(cleaned["first_day"], frame.begins, self._zone),
            until_at=instant(last, frame.ends if goes_on else time(), self._zone),
            time_zone=self._zone.key,
            weekdays=tuple(cleaned["weekdays"]),
            title=self.changed.title if isinstance(self.changed, Series) else "",
            kinds=self._kinds(),
            priority=cleaned["priority"],
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        if self.is_weekly:
            self._clean_weekly(cleaned)
            return cleaned
        cleaned["valid_at"], cleaned["invalid_at"] = self.validity()
        return cleaned

    def refuse(self, error: UnableToConstrain) -> None:
        """Say at the field at fault why the constraint cannot be set."""
        part = self._side.part(error.field)
        self.add_error(_FIELDS.get(part), error.reason)

    def _clean_weekly(self, cleaned: dict) -> None:
        if not cleaned.get("weekdays") and "weekdays" not in self.errors:
            self.add_error("weekdays", _("Choose at least one day."))
        for name in ("starts", "stops"):
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, _("Give a time of the day."))
        for name in ("first_day", "last_day"):
            day: date | None = cleaned.get(name)
            if name not in self.errors and (day is None or day.year not in YEARS):
                self.add_error(name, _("Give a day."))

    def _amounts(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        typed = Boundary(cleaned["least"], cleaned["greatest"], cleaned["point"])
        low, high, point = sides(typed, self._side.sign)
        return {
            "min_w": low,
            "max_w": high,
            "set_point_w": point,
            "closest": point is not None and cleaned["bends"],
            "min_wh": cleaned["least_energy"],
            "max_wh": cleaned["greatest_energy"],
        }

    def _kinds(self) -> tuple[str, ...]:
        kinds = tuple(self.cleaned_data.get("kinds", ()))
        # All of them also means those of kinds that come later.
        is_all = len(kinds) == len(self.fields["kinds"].choices if kinds else ())
        return () if is_all else kinds


def kinds_of(members: Sequence[Appliance]) -> list[tuple[str, str]]:
    """The kinds of a group's members, with their names and numbers."""
    names = {one.kind: one.get_kind_display() for one in members}
    counts = {kind: sum(one.kind == kind for one in members) for kind in names}
    return sorted(((kind, f"{name} ({counts[kind]})") for kind, name in names.items()), key=_name)


def _name(choice: tuple[str, str]) -> str:
    return choice[1]


def offer_priorities(
    form: PriorityForm, kind: EmitterKind, changed: Constraint | Series | SharedLimit | None
) -> None:
    """Offer what this kind of emitter may choose; what stands, or the usual one, comes first."""
    form.offer_priorities(
        priority_choices(kind),
        least=floor(kind),
        most=ceiling(kind),
        shown=default_priority(kind) if changed is None else changed.priority,
    )


def _shown(changed: Constraint | Series, side: Side) -> dict[str, Any]:
    """What stands, as the fields show it."""
    asks: Any = changed
    when: dict[str, Any] = {}
    if isinstance(changed, Series):
        draft = series_draft_of(changed)
        [part] = draft.parts
        asks = part.asks
        when = {
            "repeats": WEEKLY,
            "weekdays": draft.weekdays or tuple(range(7)),
            "starts": part.frame.begins,
            "stops": part.frame.ends,
            "first_day": draft.from_at.astimezone(ZoneInfo(draft.time_zone)).date(),
            "last_day": last_day(draft),
        }
    low, high, point = sides(asks, side.sign)
    kinds = {"kinds": changed.kinds} if changed.kinds else {}
    return (
        when
        | kinds
        | {
            "least": as_typed(low),
            "greatest": as_typed(high),
            "point": as_typed(point),
            "bends": asks.closest or point is None,
            "least_energy": as_typed(asks.min_wh),
            "greatest_energy": as_typed(asks.max_wh),
        }
    )
