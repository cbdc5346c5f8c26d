"""The form of a shared limit: how much together, how it is divided, when, and how strong it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.allotment import Strategy
from flexibility.changes import ChangeForm
from flexibility.emitters import Emitter, UnableToConstrain
from flexibility.fields import PowerField, as_typed
from flexibility.forms import kinds_of, offer_priorities
from flexibility.limits.operations import LimitDraft
from flexibility.models import SharedLimit
from flexibility.priorities import PriorityForm
from flexibility.resolver import EmitterKind
from flexibility.validity import ValidityForm
from inventory.models import Appliance

STRATEGIES: dict[str, tuple[Promise, Promise]] = {
    Strategy.EQUALLY: (
        gettext_lazy("Equally"),
        gettext_lazy("Each has the same; what one does not need goes to the others."),
    ),
    Strategy.PROPORTIONAL: (
        gettext_lazy("By size"),
        gettext_lazy("Each has a part as large as its greatest power is of all."),
    ),
    Strategy.FIRST_COME_FIRST_SERVE: (
        gettext_lazy("First come, first served"),
        gettext_lazy("Who has asked for power for longest has all that it may, then the next."),
    ),
    Strategy.SERIES: (
        gettext_lazy("One after the other"),
        gettext_lazy("In an order that you say: the first has all that it may, then the next."),
    ),
}
_PHASES = ("phase_1", "phase_2", "phase_3")
_PLACE = "place_"
# One of them has to be there.
AMOUNTS = ("greatest", "fed_in", *_PHASES)
# The fields that show parts of a draft.
_FIELDS = {
    "min_w": "fed_in",
    "max_w": "greatest",
    "phase_max_w": _PHASES[0],
    "strategy": "strategy",
    "kinds": "kinds",
    "dynamic": "dynamic",
    "priority": "priority",
    "valid_at": "begin_at",
    "invalid_at": "end_at",
}


class LimitForm(ChangeForm, PriorityForm, ValidityForm):
    """A limit for the sum of `members`, as this emitter sets it, in the time zone `zone`.

    With `changed`, one that stands, it is filled with that. Each member has a field for its place
    in the order (`places`). Bound and valid, `draft` is what is asked for.
    """

    greatest = PowerField(label=gettext_lazy("Together at most"))
    fed_in = PowerField(label=gettext_lazy("Fed in at most"))
    phase_1 = PowerField(label=gettext_lazy("Phase 1 at most"))
    phase_2 = PowerField(label=gettext_lazy("Phase 2 at most"))
    phase_3 = PowerField(label=gettext_lazy("Phase 3 at most"))
    dynamic = forms.BooleanField(
        label=gettext_lazy("It is the limit of the grid connection"), required=False
    )
    strategy = forms.ChoiceField(
        label=gettext_lazy("How it is divided"),
        widget=forms.RadioSelect,
        choices=[(strategy.value, name) for strategy, (name, _does) in STRATEGIES.items()],
        initial=Strategy.EQUALLY.value,
    )
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("For which"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one kind.")},
    )

    def __init__(
        self,
        *args,
        emitter: Emitter,
        members: Sequence[Appliance],
        zone: ZoneInfo,
        now: datetime,
        changed: SharedLimit | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            *args,
            zone=zone,
            now=now,
            kept=(changed.valid_at, changed.invalid_at) if changed else None,
            may_be_endless=emitter.kind is EmitterKind.FUSE,
            **kwargs,
        )
        self._members, self.changed = members, changed
        kinds = kinds_of(members)
        self.fields["kinds"].choices = kinds
        for one in members:
            self.fields[_place_of(one.pk)] = forms.IntegerField(
                label=one.name,
                required=False,
                min_value=1,
                max_value=len(members),
                widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
            )
        self.initial = {
            "kinds": [kind for kind, _name in kinds],
            **(_shown(changed) if changed else {}),
            **self.initial,
        }
        offer_priorities(self, emitter.kind, changed)

    @property
    def choices(self) -> list[tuple[Any, str]]:
        """The strategies to choose from, each with what it does."""
        return [
            (radio, str(STRATEGIES[Strategy(radio.data["value"])][1])) for radio in self["strategy"]
        ]

    @property
    def phases(self) -> list[forms.BoundField]:
        """The fields of the three phases."""
        return [self[name] for name in _PHASES]

    @property
    def is_by_phase(self) -> bool:
        """Whether something is said of a phase."""
        return any(field.value() or field.errors for field in self.phases)

    @property
    def places(self) -> list[forms.BoundField]:
        """The fields of the members' places in the order."""
        return [self[_place_of(one.pk)] for one in self._members]

    @property
    def draft(self) -> LimitDraft:
        """What is asked for."""
        cleaned = self.cleaned_data
        fed_in, phases = cleaned["fed_in"], tuple(cleaned[name] for name in _PHASES)
        kinds = tuple(cleaned["kinds"])
        return LimitDraft(
            id=self.changed.pk if self.changed else None,
            # Adding 0 makes 0 of -0.
            min_w=None if fed_in is None else -fed_in + 0,
            max_w=cleaned["greatest"],
            phase_max_w=None if None in phases else phases,
            strategy=Strategy(cleaned["strategy"]),
            order=self._order(),
            # All of them also means those of kinds that come later.
            kinds=() if len(kinds) == len(self.fields["kinds"].choices) else kinds,
            dynamic=cleaned["dynamic"],
            priority=cleaned["priority"],
            valid_at=cleaned["valid_at"],
            invalid_at=cleaned["invalid_at"],
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        cleaned["valid_at"], cleaned["invalid_at"] = self.validity()
        stated = [cleaned.get(name) is not None for name in _PHASES]
        if any(stated) and not all(stated) and not set(_PHASES) & set(self.errors):
            missing = _PHASES[stated.index(False)]
            self.add_error(missing, _("Give three values, one for each phase."))
        return cleaned

    def refuse(self, error: UnableToConstrain) -> None:
        """Say at the field at fault why the limit cannot be set."""
        self.add_error(_FIELDS.get(error.field), error.reason)

    def _order(self) -> tuple[UUID, ...]:
        """Who was given a place, in that order; of the same place who comes first in the list."""
        if self.cleaned_data["strategy"] != Strategy.SERIES:
            return ()
        placed = [(self.cleaned_data.get(_place_of(one.pk)), one.pk) for one in self._members]
        given = [each for each in placed if each[0] is not None]
        return tuple(pk for _place, pk in sorted(given, key=lambda each: each[0]))


def _place_of(appliance: UUID) -> str:
    return f"{_PLACE}{appliance}"


def _shown(changed: SharedLimit) -> dict[str, Any]:
    """One that stands, as the fields show it."""
    phases = changed.phase_max_w or (None,) * len(_PHASES)
    places = {_place_of(pk): place for place, pk in enumerate(changed.order, start=1)}
    return {
        "greatest": as_typed(changed.max_w),
        "fed_in": as_typed(None if changed.min_w is None else -changed.min_w + 0),
        **{name: as_typed(watts) for name, watts in zip(_PHASES, phases, strict=True)},
        "dynamic": changed.dynamic,
        "strategy": changed.strategy,
        **({"kinds": changed.kinds} if changed.kinds else {}),
        **places,
    }
