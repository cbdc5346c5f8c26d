"""HTML forms of the inventory; every choice starts at what the user may see."""

import zoneinfo

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from inventory.models import Appliance, Cluster, Gateway, System, SystemPool
from inventory.queries import appliance_kinds, grid_operators


def _time_zones() -> list[str]:
    """The zones of places; abbreviations and offsets are left out."""
    return sorted(name for name in zoneinfo.available_timezones() if "/" in name[1:-1])


class TimeZoneInput(forms.TextInput):
    """A text with the known zones offered while typing; any of them can be typed."""

    template_name = "inventory/time_zone_input.html"

    def get_context(self, name, value, attrs):
        context = super().get_context(name, value, attrs)
        context["zones"] = _time_zones()
        context["widget"]["attrs"]["list"] = f"{name}-zones"
        return context


class SystemForm(forms.ModelForm):
    """A system: name, time zone, address and place, and how it is dimmed."""

    class Meta:
        model = System
        fields = [
            "name",
            "time_zone",
            "address_line1",
            "postal_code",
            "city",
            "country",
            "dimming_mode",
            "latitude",
            "longitude",
        ]
        widgets = {"time_zone": TimeZoneInput}


class SystemNameForm(SystemForm):
    """What a resident may change of their system."""

    class Meta(SystemForm.Meta):
        fields = ["name"]


class GatewayNameForm(forms.ModelForm):
    class Meta:
        model = Gateway
        fields = ["name"]


class RegistrationForm(forms.ModelForm):
    """The serial number of a gateway, and the system (of those in sight) that it goes to."""

    class Meta:
        model = Gateway
        fields = ["system", "serial", "name"]
        widgets = {
            "system": forms.HiddenInput,
            "serial": forms.TextInput(
                attrs={"autocapitalize": "characters", "autocomplete": "off", "spellcheck": "false"}
            ),
        }
        help_texts = {
            "serial": _("Printed on the gateway. Capital letters, digits and hyphens."),
            "name": _("For example where it hangs."),
        }
        error_messages = {
            "serial": {"unique": _("A gateway with this serial number is registered already.")},
            "system": {
                "unique": _("This system has a gateway already."),
                "invalid_choice": _("There is no such system."),
            },
        }

    def __init__(self, *args, user: User, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["system"].queryset = System.objects.visible_to(user)

    def clean_serial(self) -> str:
        return self.cleaned_data["serial"].strip()


class ClusterForm(forms.ModelForm):
    """A cluster's name, and the cluster of the same system that it lies in."""

    class Meta:
        model = Cluster
        fields = ["name", "parent"]
        labels = {"parent": _("Within")}

    def __init__(self, *args, system: System, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        clusters = Cluster.objects.filter(system=system).order_by("name")
        if not self.instance._state.adding:
            clusters = clusters.exclude(pk=self.instance.pk)
        # So that the constraints see what will be saved.
        self.instance.system = system
        self.fields["parent"].queryset = clusters
        self.fields["parent"].empty_label = _("no other cluster")


class ApplianceNameForm(forms.ModelForm):
    """Name and room of an appliance."""

    class Meta:
        model = Appliance
        fields = ["name", "room"]


class ApplianceForm(ApplianceNameForm):
    """Name, room and cluster of an appliance."""

    class Meta(ApplianceNameForm.Meta):
        fields = ["name", "room", "cluster"]

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["cluster"].queryset = Cluster.objects.filter(
            system=self.instance.system_id
        ).order_by("name")
        self.fields["cluster"].empty_label = _("no cluster")


class ApplianceClusterForm(ApplianceForm):
    """What a fleet manager may change of an appliance: the cluster that it lies in."""

    class Meta(ApplianceForm.Meta):
        fields = ["cluster"]


class PoolForm(forms.ModelForm):
    """A pool's name, kind and time zone."""

    class Meta:
        model = SystemPool
        fields = ["name", "kind", "time_zone"]
        widgets = {"time_zone": TimeZoneInput}


class MembersForm(forms.Form):
    """Some systems in sight, chosen by ticking them."""

    system = forms.ModelMultipleChoiceField(
        queryset=System.objects.none(),
        error_messages={
            "required": _("Tick at least one system."),
            "invalid_choice": _("One of the systems does not exist."),
        },
    )

    def __init__(self, *args, user: User, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["system"].queryset = System.objects.visible_to(user).select_related("account")


class AssignmentForm(forms.Form):
    """Who looks after a system, of the grid operators in sight."""

    operator = forms.ModelChoiceField(
        queryset=User.objects.none(), label=_("Grid operator"), empty_label=_("Choose…")
    )

    def __init__(self, *args, user: User, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["operator"].queryset = grid_operators(user).order_by("full_name", "email")


class InventoryFilterForm(forms.Form):
    """The part of an inventory that the address names; nonsense in it is left out."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("Name, serial, place …")}),
    )
    kind = forms.ChoiceField(
        label=_("Kind"),
        required=False,
        choices=lambda: [("", _("every kind")), *appliance_kinds()],
    )
    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[
            ("", _("every state")),
            ("online", _("online")),
            ("silent", _("not heard")),
            ("offline", _("offline")),
            ("never", _("never seen")),
            ("revoked", _("revoked")),
        ],
    )
