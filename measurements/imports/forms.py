"""Forms of an import: which file, and what its columns mean. A `Layout` is the only meaning."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID
from zlib import crc32
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.forms import TimeZoneInput
from inventory.kinds import LONGEST_INTERVAL_S, ApplianceKind
from inventory.models import Appliance, System, validate_time_zone
from measurements.imports.layouts import (
    COUNTERS,
    INTERVAL_ONLY,
    LONGEST_NAME,
    POINT_QUANTITIES,
    ColumnMapping,
    Instants,
    Layout,
    NewAppliance,
    UnableToMap,
)
from measurements.imports.preview import Preview, is_instant
from measurements.imports.recordings import ENDINGS
from measurements.imports.transcripts import appliances_called, check_columns

BYTES_PER_MB = 1_000_000
NEW = "new"
MOST_SAMPLES = 3

QUANTITY_NAMES = {
    "power_w": gettext_lazy("Power, W"),
    "imported_wh": gettext_lazy("Counter of what flowed in, Wh"),
    "exported_wh": gettext_lazy("Counter of what flowed out, Wh"),
    "soc": gettext_lazy("State of charge, 0–1"),
    "energy_wh": gettext_lazy("Stored energy, Wh"),
    "temperature_c": gettext_lazy("Temperature, °C"),
    "current_l1_a": gettext_lazy("Current L1, A"),
    "current_l2_a": gettext_lazy("Current L2, A"),
    "current_l3_a": gettext_lazy("Current L3, A"),
    "imported_w": gettext_lazy("Mean power in, W"),
    "exported_w": gettext_lazy("Mean power out, W"),
    "import_energy_wh": gettext_lazy("Energy in, Wh"),
    "export_energy_wh": gettext_lazy("Energy out, Wh"),
}
_LONGEST_MINUTES = LONGEST_INTERVAL_S // 60
_INTERVAL_RANGE = gettext_lazy("A whole number of minutes, from 1 to 60.")


class UploadForm(forms.Form):
    """The file."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        widget=forms.FileInput(attrs={"accept": ",".join(ENDINGS)}),
        error_messages={
            "required": gettext_lazy("Choose a file."),
            "empty": gettext_lazy("The file is empty."),
        },
    )

    def clean_file(self) -> File:
        file = self.cleaned_data["file"]
        if file.size > settings.MOST_UPLOADED_MB * BYTES_PER_MB:
            raise ValidationError(
                _(
                    "The file has %(size)s MB; at most %(most)s MB can be uploaded. Pack it (.gz,"
                    " .xz), or bring it in parts."
                )
                % {"size": -(-file.size // BYTES_PER_MB), "most": settings.MOST_UPLOADED_MB}
            )
        return file


class ColumnForm(forms.Form):
    """What a column of a wide file is: a quantity of an appliance, or nothing that is wanted."""

    appliance = forms.ChoiceField(label=gettext_lazy("Appliance"), required=False)
    new_name = forms.CharField(label=gettext_lazy("Name"), max_length=LONGEST_NAME, required=False)
    new_kind = forms.ChoiceField(label=gettext_lazy("Kind"), required=False)
    quantity = forms.ChoiceField(label=gettext_lazy("Quantity"), required=False)
    scale = forms.FloatField(
        label=gettext_lazy("Multiplied by"),
        help_text=gettext_lazy("1000 of kW and kWh; −1 turns the sign."),
        required=False,
    )

    def __init__(
        self,
        *args: Any,
        column: str,
        samples: list[str],
        appliances: list[Appliance],
        **kwargs: Any,
    ) -> None:
        """`samples`: some of what is in it."""
        super().__init__(*args, **kwargs)
        self.column = column
        self.samples = samples
        self._names = {name for one in appliances for name in (one.name, one.local_id) if name}
        self.fields["appliance"].choices = [
            ("", _("not wanted")),
            *((str(one.pk), _told(one)) for one in appliances),
            (NEW, _("a new one …")),
        ]
        kinds = Appliance._meta.get_field("kind").choices
        self.fields["new_kind"].choices = [("", "–"), *kinds]
        self.fields["quantity"].choices = [
            ("", "–"),
            (_("at an instant"), _named(COUNTERS)),
            (_("either"), _named(one for one in POINT_QUANTITIES if one not in COUNTERS)),
            (_("of an interval"), _named(INTERVAL_ONLY)),
        ]

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        if not found.get("appliance"):
            return found
        if not found.get("quantity"):
            self.add_error("quantity", _("Say what it is."))
        if found.get("scale") == 0:
            self.add_error("scale", _("Not 0."))
        if found["appliance"] == NEW:
            self._check_new(found)
        return found

    @property
    def new_appliance(self) -> NewAppliance | None:
        found = self.cleaned_data
        if found.get("appliance") != NEW:
            return None
        return NewAppliance(found["new_name"], ApplianceKind(found["new_kind"]))

    @property
    def mapping(self) -> ColumnMapping | None:
        """What is said of the column, where it is wanted."""
        found = self.cleaned_data
        if not found.get("appliance"):
            return None
        appliance = found["new_name"] if found["appliance"] == NEW else found["appliance"]
        scale = 1.0 if found["scale"] is None else found["scale"]
        return ColumnMapping(self.column, appliance, found["quantity"], scale)

    def _check_new(self, found: dict[str, Any]) -> None:
        name = found.get("new_name", "")
        if not name and "new_name" not in self.errors:
            self.add_error("new_name", _("Say what it is called."))
        elif name in self._names or _is_uuid(name):
            self.add_error("new_name", _("There is one of this name: choose it."))
        if not found.get("new_kind"):
            self.add_error("new_kind", _("Say what it is."))


class NewcomerForm(forms.Form):
    """What an appliance is that a long file names, and the system does not have."""

    kind = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = name
        self.fields["kind"].label = name
        self.fields["kind"].choices = [
            ("", _("refused")),
            *Appliance._meta.get_field("kind").choices,
        ]

    @property
    def new_appliance(self) -> NewAppliance | None:
        kind = self.cleaned_data["kind"]
        return NewAppliance(self.name, ApplianceKind(kind)) if kind else None


class LayoutForm(forms.Form):
    """What the columns of a file mean; `columns` has a form for each one of a wide file, and
    `newcomers` one for each appliance that a long one is known to name and the system lacks.

    Valid, it has the `layout`.
    """

    time_column = forms.ChoiceField(label=gettext_lazy("The time is in"))
    time_zone = forms.CharField(
        label=gettext_lazy("Time zone"),
        widget=TimeZoneInput,
        validators=[validate_time_zone],
        help_text=gettext_lazy("Of times that do not say their offset."),
    )
    interval_minutes = forms.IntegerField(
        label=gettext_lazy("Each line is an interval of … minutes"),
        help_text=gettext_lazy("Empty where each line is a reading at an instant."),
        # By the placeholder, styles know that the field is empty.
        widget=forms.NumberInput(attrs={"placeholder": " "}),
        min_value=1,
        max_value=_LONGEST_MINUTES,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), _INTERVAL_RANGE),
        required=False,
    )
    label = forms.ChoiceField(
        label=gettext_lazy("Its time is that of"),
        choices=[
            ("start", gettext_lazy("the start of the interval")),
            ("end", gettext_lazy("the end of the interval")),
        ],
    )
    skip_bad = forms.BooleanField(
        label=gettext_lazy("Leave bad lines out"),
        help_text=gettext_lazy("Otherwise nothing is stored as long as one line is bad."),
        required=False,
    )

    def __init__(
        self,
        data: Any = None,
        *,
        system: System,
        preview: Preview,
        layout: Layout | None,
        unknown: Sequence[str],
        skip_bad: bool,
    ) -> None:
        """`layout`: what was said before, if anything; `unknown`: whom the system did not have."""
        usual = {
            "time_column": preview.time_column,
            "time_zone": system.time_zone,
            "label": "start",
            "skip_bad": skip_bad,
        }
        super().__init__(data, initial=usual | (_said(layout) if layout else {}))
        self._preview = preview
        self.fields["time_column"].choices = [(name, name) for name in preview.columns]
        appliances = list(Appliance.objects.filter(system=system).order_by("name", "key"))
        self.columns = [
            ColumnForm(
                data,
                prefix=f"column-{place}",
                column=name,
                samples=preview.cells(name)[:MOST_SAMPLES],
                appliances=appliances,
                initial=_said_of(name, layout),
            )
            for place, name in enumerate([] if preview.is_long else preview.columns)
            if name != preview.time_column
        ]
        self.newcomers = [
            # By name, as there may be others by the time that it is sent.
            NewcomerForm(
                data,
                prefix=f"newcomer-{crc32(name.encode()):08x}",
                name=name,
                initial={"kind": kind},
            )
            for name, kind in _newcomers(preview, layout, unknown, appliances).items()
        ]

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        wanted = [one for one in self.columns if one.is_valid() and one.mapping]
        if not self.errors:
            self._check_instants(found)
        if all(one.is_valid() for one in self.columns):
            self._check_new_appliances(wanted)
            self._check_quantities(wanted, _seconds(found.get("interval_minutes")))
        if not all(one.is_valid() for one in self.columns):
            raise ValidationError(_("Not every column is said yet: see there."))
        if self.columns and not wanted:
            raise ValidationError(_("Say of at least one column what it is."))
        if not all(one.is_valid() for one in self.newcomers):
            raise ValidationError(_("Not every appliance is said yet: see there."))
        if not self.errors:
            self._make_layout(found, wanted)
        return found

    def _check_instants(self, found: dict[str, Any]) -> None:
        """One glance at the first lines spares reading all of them for nothing.

        Bad lines that are left out may well be the first ones, such as those of an hour that
        happens twice; but there has to be an instant among them.
        """
        cells = self._preview.cells(found["time_column"])
        if found["skip_bad"] and any(map(is_instant, cells)):
            return
        instants = Instants(ZoneInfo(found["time_zone"]))
        problem: ValueError | None = None
        for cell in cells:
            try:
                instants.read(cell, "")
            except ValueError as error:
                problem = problem or error
            else:
                return
        if problem is not None:
            self.add_error("time_column", str(problem))

    def _check_new_appliances(self, wanted: list[ColumnForm]) -> None:
        kinds: dict[str, ApplianceKind] = {}
        for one in wanted:
            new = one.new_appliance
            if new and kinds.setdefault(new.name, new.kind) != new.kind:
                one.add_error("new_kind", _("Another column says that it is something else."))

    def _check_quantities(self, wanted: list[ColumnForm], interval_s: int | None) -> None:
        """What does not fit together is told where the last of it is said."""
        said: dict[str, list[ColumnMapping]] = {}
        for one in wanted:
            mapping = one.mapping
            mappings = said.setdefault(mapping.appliance, [])
            try:
                Layout(mappings=(*mappings, mapping), interval_s=interval_s)
            except UnableToMap as error:
                one.add_error("quantity", str(error))
            else:
                mappings.append(mapping)

    def _make_layout(self, found: dict[str, Any], wanted: list[ColumnForm]) -> None:
        new = dict.fromkeys(
            one.new_appliance for one in (*wanted, *self.newcomers) if one.new_appliance
        )
        interval_s = _seconds(found["interval_minutes"])
        try:
            self.layout = Layout(
                mappings=tuple(one.mapping for one in wanted),
                time_column=found["time_column"],
                zone=ZoneInfo(found["time_zone"]),
                interval_s=interval_s,
                label_end=interval_s is not None and found["label"] == "end",
                create=tuple(new),
            )
            check_columns(self._preview.columns, self.layout)
        except UnableToMap as error:
            self.add_error(None, str(error))


def _newcomers(
    preview: Preview, layout: Layout | None, unknown: Sequence[str], appliances: list[Appliance]
) -> dict[str, str]:
    """The appliances of a long file that the system lacks, with what was said that they are."""
    if not preview.is_long:
        return {}
    said = {one.name: one.kind.value for one in layout.create} if layout else {}
    names = dict.fromkeys([*unknown, *preview.appliances], "") | said
    return {
        name: kind
        for name, kind in names.items()
        if len(name) <= LONGEST_NAME
        and not _is_uuid(name)
        and not appliances_called(name, appliances)
    }


def _told(appliance: Appliance) -> str:
    if appliance.removed_at is None:
        return appliance.name
    return _("%(appliance)s (removed)") % {"appliance": appliance.name}


def _named(quantities: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, f"{QUANTITY_NAMES[name]} ({name})") for name in quantities]


def _seconds(minutes: int | None) -> int | None:
    return None if minutes is None else 60 * minutes


def _said(layout: Layout) -> dict[str, Any]:
    return {
        "time_column": layout.time_column,
        "time_zone": layout.zone.key if layout.zone else "",
        "interval_minutes": None if layout.interval_s is None else layout.interval_s // 60,
        "label": "end" if layout.label_end else "start",
    }


def _said_of(column: str, layout: Layout | None) -> dict[str, Any]:
    """What the layout says of a column."""
    usual = {"scale": 1}
    mapping = (
        next((one for one in layout.mappings if one.column == column), None) if layout else None
    )
    if mapping is None:
        return usual
    new = next((one for one in layout.create if one.name == mapping.appliance), None)
    return {
        "appliance": NEW if new else mapping.appliance,
        "new_name": new.name if new else "",
        "new_kind": new.kind if new else "",
        "quantity": mapping.quantity,
        "scale": mapping.scale,
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
