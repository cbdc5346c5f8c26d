"""Fields of forms: powers and energies as people write them, times of the target's zone."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.formats import get_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.wire_fields import YEARS

_AMOUNT = r"([+\-−]?)\s*(\d+(?:[.,]\d+)?)\s*({unit})?"
_MOST_KILO = 1_000_000


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
            found = datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            raise ValidationError(_("Give a day and a time.")) from None
        if found.year not in YEARS:
            raise ValidationError(_("Give a day and a time."))
        return found


def instant_of(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local time: of one that comes twice, the first one.

    Raises ValidationError.
    """
    at = local.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) != local:
        raise ValidationError(_("There is no such time: the clocks go forward then."))
    return at


def placed(form: forms.Form, name: str, zone: ZoneInfo) -> datetime | None:
    """The instant (UTC) of a local time that was typed in; the form says what is wrong with it."""
    given = form.cleaned_data.get(name)
    if given is None:
        if name not in form.errors:
            form.add_error(name, _("Give a day and a time."))
        return None
    try:
        return instant_of(given, zone)
    except ValidationError as error:
        form.add_error(name, error)
        return None


class AmountField(forms.CharField):
    """An amount in thousands of its unit, or in the unit where that is written behind it.

    Cleaned to the unit itself.
    """

    unit: str
    example: Promise
    too_much: Promise

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
        pattern = _AMOUNT.format(unit=f"k?{self.unit}")
        found = re.fullmatch(pattern, text, re.IGNORECASE)
        if found is None:
            raise ValidationError(self.example)
        sign, digits, unit = found.groups()
        if "," in digits and get_format("DECIMAL_SEPARATOR") != ",":
            raise ValidationError(_("Write decimals with a point: 4.2."))
        is_plain = (unit or "").lower() == self.unit.lower()
        amount = float(digits.replace(",", ".")) * (1 if is_plain else 1000)
        if amount > _MOST_KILO * 1000:
            raise ValidationError(self.too_much)
        return -amount if sign in ("-", "−") else amount


class PowerField(AmountField):
    """A power in kW, or in W where that is written behind it; cleaned to W."""

    unit = "W"
    example = gettext_lazy("Write a power such as 4.2 (kW) or 4200 W.")
    too_much = gettext_lazy("That is more than any appliance can do.")


class EnergyField(AmountField):
    """An energy in kWh, or in Wh where that is written behind it; cleaned to Wh."""

    unit = "Wh"
    example = gettext_lazy("Write an energy such as 2.5 (kWh) or 2500 Wh.")
    too_much = gettext_lazy("That is more than any appliance can hold.")


def as_typed(amount: float | None) -> str:
    """An amount as it would be written in such a field."""
    if amount is None:
        return ""
    text = f"{amount / 1000:.6f}".rstrip("0").rstrip(".")
    return text.replace(".", get_format("DECIMAL_SEPARATOR"))
