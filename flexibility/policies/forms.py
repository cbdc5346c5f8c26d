"""The forms of charging policies: how to charge, how strong, until when."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.emitters import Emitter, UnableToConstrain, ceiling
from flexibility.fields import EnergyField, LocalTimeField, placed
from flexibility.policies.operations import PolicyDraft
from flexibility.policies.sentences import CHOICES, MODES, policy_priorities
from flexibility.policies.terms import Mode
from flexibility.priorities import PriorityForm
from flexibility.resolver import EmitterKind
from flexibility.validity import MORNING, UNTIL

FOREVER = "forever"
USUAL_WH = 10_000
_MOST_WH = 1_000_000
_FIELDS = {"energy_wh": "energy", "departs_at": "ready_at", "priority": "priority"}


class ChargeField(EnergyField):
    """An energy that a vehicle could take."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.widget.attrs = {"inputmode": "decimal", "autocomplete": "off"}

    def clean(self, value) -> float | None:
        found = super().clean(value)
        if found is not None and not 0 < found <= _MOST_WH:
            raise ValidationError(_("This is no energy that a vehicle could take."))
        return found


class LocalTimes(forms.Form):
    """A form with local times of the time zone `zone`."""

    def __init__(self, *args, zone: ZoneInfo, now: datetime, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.zone, self.now = zone, now

    def placed(self, name: str) -> datetime | None:
        """The instant of a local time that was typed in; the form says what is wrong with it."""
        at = placed(self, name, self.zone)
        if at is not None and at <= self.now:
            self.add_error(name, _("That lies in the past."))
            return None
        return at

    def morning(self) -> datetime:
        """The next morning, as a local time."""
        local = self.now.astimezone(self.zone)
        day = local.date() + timedelta(days=local.time() >= MORNING)
        return datetime.combine(day, MORNING)


class ModeForm(LocalTimes):
    """How one station charges. Bound and valid, `draft` is what is asked for."""

    mode = forms.ChoiceField(
        label=gettext_lazy("How it charges"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose how it charges.")},
    )
    energy = ChargeField(label=gettext_lazy("So much energy"))
    ready_at = LocalTimeField(label=gettext_lazy("Ready by"))

    modes = CHOICES

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"].choices = [(one.value, MODES[one]) for one in self.modes]
        if "energy" in self.fields:
            self.fields["energy"].initial = number_format(USUAL_WH / 1000, 0)
            ready = self.morning().replace(hour=7)
            self.fields["ready_at"].initial = ready

    @property
    def draft(self) -> PolicyDraft:
        """What is asked for."""
        cleaned = self.cleaned_data
        return PolicyDraft(
            mode=Mode(cleaned["mode"]),
            energy_wh=cleaned.get("energy_wh"),
            departs_at=cleaned.get("departs_at"),
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        if cleaned.get("mode") == Mode.DEPARTURE:
            cleaned["energy_wh"] = cleaned.get("energy")
            if cleaned.get("energy") is None and "energy" not in self.errors:
                self.add_error("energy", _("Say how much."))
            cleaned["departs_at"] = self.placed("ready_at")
        else:
            # What stands in fields that are not asked for is no mistake.
            for name in {"energy", "ready_at"} & set(self.errors):
                del self.errors[name]
        return cleaned

    def refuse(self, error: UnableToConstrain) -> None:
        """Say at the field at fault why the policy cannot be set."""
        name = _FIELDS.get(error.field)
        self.add_error(name if name in self.fields else None, error.reason)


class GroupPolicyForm(PriorityForm, ModeForm):
    """How all stations of a cluster or a system charge."""

    modes = tuple(one for one in CHOICES if one is not Mode.DEPARTURE)

    energy = ready_at = None
    end = forms.ChoiceField(
        label=gettext_lazy("Until"), widget=forms.RadioSelect, initial=FOREVER, required=False
    )
    end_at = LocalTimeField(label=gettext_lazy("Ends"))

    def __init__(self, *args, emitter: Emitter, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        levels = policy_priorities(emitter.kind)
        most = min(ceiling(EmitterKind.CHARGING_POLICY), ceiling(emitter.kind))
        self.offer_priorities(levels, least=0, most=most, shown=levels[0][0])
        self.fields["end"].choices = [
            (FOREVER, _("until somebody ends it")),
            ("4h", _("4 h")),
            ("midnight", _("until midnight")),
            ("morning", _("until tomorrow, 06:00")),
            (UNTIL, _("exactly until")),
        ]
        local = self.now.astimezone(self.zone).replace(tzinfo=None, second=0, microsecond=0)
        self.fields["end_at"].initial = local + timedelta(hours=5)

    @property
    def draft(self) -> PolicyDraft:
        cleaned = self.cleaned_data
        return PolicyDraft(
            mode=Mode(cleaned["mode"]),
            priority=cleaned["priority"],
            invalid_at=cleaned["invalid_at"],
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        chosen = cleaned.get("end")
        tomorrow = self.now.astimezone(self.zone).date() + timedelta(days=1)
        cleaned["invalid_at"] = None
        if chosen == UNTIL:
            cleaned["invalid_at"] = self.placed("end_at")
        elif chosen == "4h":
            cleaned["invalid_at"] = self.now + timedelta(hours=4)
        elif chosen in ("midnight", "morning"):
            hour = MORNING if chosen == "morning" else time()
            cleaned["invalid_at"] = datetime.combine(tomorrow, hour, self.zone).astimezone(UTC)
        if chosen != UNTIL and "end_at" in self.errors:
            del self.errors["end_at"]
        return cleaned


class ChargeNowForm(LocalTimes):
    """Until when to charge now. Bound and valid, `until_at` says so."""

    until = forms.ChoiceField(
        choices=[("1h", ""), ("2h", ""), ("morning", ""), (UNTIL, "")], required=False
    )
    until_at = LocalTimeField(label=gettext_lazy("Charge until"))

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        local = self.now.astimezone(self.zone).replace(tzinfo=None, second=0, microsecond=0)
        self.fields["until_at"].initial = local + timedelta(hours=4)

    def clean(self) -> dict:
        cleaned = super().clean()
        chosen = cleaned.get("until")
        if chosen == "1h":
            cleaned["invalid_at"] = self.now + timedelta(hours=1)
        elif chosen == "2h":
            cleaned["invalid_at"] = self.now + timedelta(hours=2)
        elif chosen == "morning":
            morning = self.morning().replace(tzinfo=self.zone)
            cleaned["invalid_at"] = morning.astimezone(UTC)
        else:
            cleaned["invalid_at"] = self.placed("until_at")
        return cleaned
