"""The form of a constraint: what it asks for in kW, from when until when, and how strong it is."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.formats import get_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.emitters import Emitter, UnableToConstrain, default_priority
from flexibility.operations import Draft
from flexibility.sentences import Side, priority_choices
from inventory.models import Appliance

NOW, LATER, UNTIL = "now", "later", "until"
MORNING = time(6)
_POWER = re.compile(r"([+\-−]?)\s*(\d+(?:[.,]\d+)?)\s*(kw|w)?", re.IGNORECASE)
_MOST_KW = 1_000_000
# The fields that show parts of a draft.
_FIELDS = {
    "min_w": "least",
    "max_w": "greatest",
    "set_point_w": "point",
    "valid_at": "begin_at",
    "invalid_at": "end_at",
    "priority": "priority",
}


class LocalTimeField(forms.DateTimeField):
    """A local time as it is typed; whose zone it is, the form knows."""

    def __init__(self, **kwargs) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
        super().__init__(required=False, widget=widget, **kwargs)

    def prepare_value(self, value):
        return value

    def to_python(self, value) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            return datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            raise ValidationError(_("Give a day and a time.")) from None


class PowerField(forms.CharField):
    """A power in kW, or in W where that is written behind it; cleaned to W."""

    def __init__(self, **kwargs) -> None:
        widget = forms.TextInput(
            attrs={
                "inputmode": "text",
                "autocomplete": "off",
                "placeholder": gettext_lazy("no statement"),
            }
        )
        super().__init__(required=False, max_length=20, widget=widget, **kwargs)

    def clean(self, value) -> float | None:
        text = super().clean(value).replace("\N{NO-BREAK SPACE}", " ")
        if not text:
            return None
        found = _POWER.fullmatch(text)
        if found is None:
            raise ValidationError(_("Write a power such as 4.2 (kW) or 4200 W."))
        sign, digits, unit = found.groups()
        if "," in digits and get_format("DECIMAL_SEPARATOR") != ",":
            raise ValidationError(_("Write decimals with a point: 4.2."))
        watts = float(digits.replace(",", ".")) * (1 if (unit or "").lower() == "w" else 1000)
        if watts > _MOST_KW * 1000:
            raise ValidationError(_("That is more than any appliance can do."))
        return -watts if sign in ("-", "−") else watts


class ConstraintForm(forms.Form):
    """A constraint of a target in the time zone `zone`, looked at from `side`.

    `kinds` are those of a group's members (value and name); of one appliance there are none.
    Bound and valid, `draft` is what it asks for.
    """

    least = PowerField(label=gettext_lazy("At least"))
    greatest = PowerField(label=gettext_lazy("At most"))
    point = PowerField(label=gettext_lazy("Set point"))
    # Not named `closest`: in browsers it would take the place of the form's method of that name.
    bends = forms.BooleanField(
        label=gettext_lazy("or as close as allowed"), required=False, initial=True
    )
    begin = forms.ChoiceField(
        label=gettext_lazy("From"), widget=forms.RadioSelect, initial=NOW, required=False
    )
    begin_at = LocalTimeField(label=gettext_lazy("Begins"))
    end = forms.ChoiceField(
        label=gettext_lazy("Until"), widget=forms.RadioSelect, initial="4h", required=False
    )
    end_at = LocalTimeField(label=gettext_lazy("Ends"))
    priority = forms.TypedChoiceField(
        label=gettext_lazy("How strong"), coerce=int, widget=forms.RadioSelect
    )
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
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._zone, self._now, self._side = zone, now, side
        self.fields["begin"].choices = [(NOW, _("now")), (LATER, _("later"))]
        self.fields["end"].choices = [
            ("1h", _("1 h")),
            ("4h", _("4 h")),
            ("midnight", _("until midnight")),
            ("morning", _("until tomorrow, 06:00")),
            (UNTIL, _("exactly until")),
        ]
        self.fields["priority"].choices = priority_choices(emitter.kind)
        self.fields["priority"].initial = default_priority(emitter.kind)
        local = now.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        self.fields["begin_at"].initial = local + timedelta(hours=1)
        self.fields["end_at"].initial = local + timedelta(hours=5)
        if kinds:
            self.fields["kinds"].choices = kinds
            self.fields["kinds"].initial = [kind for kind, _name in kinds]
            self.fields["kinds"].error_messages["required"] = _("Choose at least one kind.")
        else:
            del self.fields["kinds"]

    @property
    def draft(self) -> Draft:
        """What is asked for."""
        cleaned = self.cleaned_data
        low, high, point = cleaned["least"], cleaned["greatest"], cleaned["point"]
        if self._side.sign < 0:
            low, high, point = _turned(high), _turned(low), _turned(point)
        kinds = tuple(cleaned.get("kinds", ()))
        # All of them also means those of kinds that come later.
        if len(kinds) == len(self.fields["kinds"].choices if kinds else ()):
            kinds = ()
        return Draft(
            min_w=low,
            max_w=high,
            set_point_w=point,
            closest=point is not None and cleaned["bends"],
            valid_at=cleaned["valid_at"],
            invalid_at=cleaned["invalid_at"],
            priority=cleaned["priority"],
            kinds=kinds,
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        cleaned["valid_at"], start = None, self._now
        if cleaned.get("begin") == LATER:
            start = cleaned["valid_at"] = self._placed("begin_at")
        cleaned["invalid_at"] = start and self._end(start)
        return cleaned

    def refuse(self, error: UnableToConstrain) -> None:
        """Say at the field at fault why the constraint cannot be set."""
        part = self._side.part(error.field)
        self.add_error(_FIELDS.get(part), error.reason)

    def _end(self, start: datetime) -> datetime | None:
        chosen = self.cleaned_data.get("end")
        local = start.astimezone(self._zone)
        tomorrow = local.date() + timedelta(days=1)
        if chosen == "1h":
            return start + timedelta(hours=1)
        if chosen == "midnight":
            return datetime.combine(tomorrow, time(), self._zone).astimezone(UTC)
        if chosen == "morning":
            return datetime.combine(tomorrow, MORNING, self._zone).astimezone(UTC)
        if chosen == UNTIL:
            return self._placed("end_at")
        return start + timedelta(hours=4)

    def _placed(self, name: str) -> datetime | None:
        """The instant of a local time that was typed in."""
        given = self.cleaned_data.get(name)
        if given is None:
            if name not in self.errors:
                self.add_error(name, _("Give a day and a time."))
            return None
        local = given.replace(tzinfo=self._zone)
        at = local.astimezone(UTC)
        if at.astimezone(self._zone).replace(tzinfo=None) != given:
            self.add_error(name, _("There is no such time: the clocks go forward then."))
            return None
        return at


def kinds_of(members: Sequence[Appliance]) -> list[tuple[str, str]]:
    """The kinds of a group's members, with their names and numbers."""
    names = {one.kind: one.get_kind_display() for one in members}
    counts = {kind: sum(one.kind == kind for one in members) for kind in names}
    return sorted(((kind, f"{name} ({counts[kind]})") for kind, name in names.items()), key=_name)


def _name(choice: tuple[str, str]) -> str:
    return choice[1]


def _turned(watts: float | None) -> float | None:
    return None if watts is None else -watts + 0
