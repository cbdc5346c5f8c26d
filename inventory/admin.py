"""Staff support for the inventory: systems, gateways, appliances, clusters, pools, faults."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.access import Role
from accounts.admin import NamedValuesFilter, ReadOnlyAdmin, StaffAdmin
from accounts.forms import TrialSaveForm
from accounts.models import Account
from gridx import clock
from inventory import operations
from inventory.models import (
    Appliance,
    Cluster,
    Gateway,
    GatewayFault,
    System,
    SystemAssignment,
    SystemPool,
)
from inventory.queries import GatewayState, with_state
from inventory.words import REASONS, fault_in_words

MOST_BODY = 4000


class OfSystemAdmin(StaffAdmin):
    """What belongs to a system, for good: its history stays with it."""

    fixed_fields = ("system",)
    list_select_related = ("system",)

    def account_of(self, obj) -> Account:
        return obj.system.account


@admin.register(System)
class SystemAdmin(StaffAdmin):
    kept = {
        "system_measured": _(
            "what was measured in it stays. Where it is given up, revoke its gateway, and say on"
            " the pages of its appliances since when they are removed."
        )
    }
    list_display = ("name", "account", "city", "time_zone", "gateway", "created_at")
    list_filter = ("dimming_mode", "time_zone", "country")
    list_select_related = ("account", "gateway")
    search_fields = ("name", "city", "postal_code", "account__name", "gateway__serial", "=id")
    search_help_text = _("Name, place, account, the gateway's serial number, or id")
    autocomplete_fields = ("account",)
    readonly_fields = ("links", "created_at", "updated_at")
    ordering = ("name",)

    @admin.display(description=_("pages"))
    def links(self, obj: System) -> str:
        if obj._state.adding:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("system_inventory", args=[obj.pk]), _("Inventory")
        )

    def save_model(self, request: HttpRequest, obj: System, form: ModelForm, change: bool) -> None:
        if change and "account" in form.changed_data:
            # Out of the account's pools too, which a plain save would forget.
            operations.move_system(
                system=System.objects.get(pk=obj.pk),
                account=obj.account,
                by=request.user,
                now=clock.now(),
            )
        super().save_model(request, obj, form, change)


GATEWAY_STATE_NAMES = {
    GatewayState.ONLINE: _("online"),
    GatewayState.SILENT: _("not heard"),
    GatewayState.OFFLINE: _("offline"),
    GatewayState.NEVER: _("never seen"),
    GatewayState.REVOKED: _("revoked"),
}


class GatewayStateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin):
        return list(GATEWAY_STATE_NAMES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(state=self.value()) if self.value() else queryset


@admin.register(Gateway)
class GatewayAdmin(OfSystemAdmin):
    # The serial number is the gateway's identity at the broker.
    fixed_fields = ("system", "serial")
    list_display = (
        "serial",
        "system",
        "state",
        "contacted_at",
        "model",
        "firmware",
        "clock_offset_s",
        "missing_messages",
        "refused_readings",
    )
    list_filter = (GatewayStateFilter, "model", "firmware")
    search_fields = ("serial", "name", "system__name", "system__account__name")
    search_help_text = _("Serial number, name, system or account")
    autocomplete_fields = ("system",)
    readonly_fields = (
        "links",
        "state",
        "contacted_at",
        "clock_offset_s",
        "last_sequence",
        "missing_messages",
        "refused_readings",
        "secret_rotated_at",
        "revoked_at",
        "paused_until",
        "registered_at",
        "here_since",
    )
    ordering = ("serial",)
    actions = ("rotate_secret", "revoke")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return with_state(super().get_queryset(request), now=clock.now())

    @admin.display(description=_("state"))
    def state(self, obj: Gateway) -> str:
        return GATEWAY_STATE_NAMES[GatewayState(obj.state)] if not obj._state.adding else "–"

    @admin.display(description=_("pages"))
    def links(self, obj: Gateway) -> str:
        if obj._state.adding:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("gateway_detail", args=[obj.pk]), _("Gateway")
        )

    def save_model(self, request: HttpRequest, obj: Gateway, form: ModelForm, change: bool) -> None:
        if not change:
            obj.registered_at = clock.now()
        super().save_model(request, obj, form, change)
        if not change:
            self._rotate(request, obj)

    def _rotate(self, request: HttpRequest, gateway: Gateway) -> None:
        secret = operations.rotate_secret(gateway=gateway, by=request.user, now=clock.now())
        messages.success(
            request,
            _("The secret of %(serial)s, shown only now: %(secret)s")
            % {"serial": gateway, "secret": secret},
        )

    @admin.action(description=_("Make a new secret"))
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[Gateway]) -> None:
        for gateway in queryset.select_related("system__account"):
            self._rotate(request, gateway)

    @admin.action(description=_("Revoke: let in no more"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[Gateway]) -> None:
        revoked = 0
        for gateway in queryset.select_related("system__account"):
            try:
                operations.revoke_gateway(gateway=gateway, by=request.user, now=clock.now())
            except operations.UnableToChangeGateway as error:
                messages.warning(request, str(error))
            else:
                revoked += 1
        if revoked:
            text = ngettext("%d gateway is revoked.", "%d gateways are revoked.", revoked)
            messages.success(request, text % revoked)


class ApplianceAdminForm(TrialSaveForm):
    class Meta:
        help_texts = {
            "kind": _(
                "Holds of all of its history, which is computed anew where it is corrected. A"
                " device in its place is another appliance."
            ),
            "removed_at": _("From then on it is no part of its system; its history stays."),
        }

    refusals = {
        "appliance_gateway_in_system": (
            "gateway",
            _("This gateway belongs to another system."),
        ),
        "appliance_cluster_in_system": (
            "cluster",
            _("This cluster belongs to another system."),
        ),
        "appliance_parent_in_system": (
            "parent",
            _("This appliance belongs to another system."),
        ),
    }

    def clean_removed_at(self):
        removed_at = self.cleaned_data["removed_at"]
        # Everybody takes one that has the instant for one that is gone.
        if removed_at is not None and removed_at > clock.now():
            self.add_error("removed_at", _("That lies in the future."))
        return removed_at


@admin.register(Appliance)
class ApplianceAdmin(OfSystemAdmin):
    form = ApplianceAdminForm
    kept = {
        "appliance_measured": _(
            "what was measured of it stays, as a part of its system's history. Where it is gone or"
            " was exchanged, say on its page since when it is removed; what took its place is"
            " another appliance."
        )
    }
    list_display = (
        "name",
        "kind",
        "system",
        "gateway",
        "manufacturer",
        "model",
        "serial_number",
        "status",
        "removed_at",
    )
    list_filter = ("kind", "status", ("removed_at", admin.EmptyFieldListFilter))
    list_select_related = ("system", "gateway")
    search_fields = (
        "name",
        "serial_number",
        "local_id",
        "manufacturer",
        "model",
        "system__name",
        "gateway__serial",
        "=id",
    )
    search_help_text = _("Name, serial number, local id, maker, model, system, gateway, or id")
    autocomplete_fields = ("system", "gateway", "cluster", "parent")
    readonly_fields = ("created_at", "updated_at")
    ordering = ("name",)


class ClusterAdminForm(TrialSaveForm):
    refusals = {
        "cluster_no_cycle": ("parent", _("A cluster cannot lie within itself.")),
        "cluster_parent_in_system": ("parent", _("This cluster belongs to another system.")),
    }


@admin.register(Cluster)
class ClusterAdmin(OfSystemAdmin):
    form = ClusterAdminForm
    list_display = ("name", "system", "parent", "created_at")
    list_select_related = ("system", "parent")
    search_fields = ("name", "system__name")
    search_help_text = _("Name or system")
    autocomplete_fields = ("system", "parent")
    ordering = ("name",)


class PoolAdminForm(TrialSaveForm):
    def clean(self):
        cleaned = super().clean()
        account, systems = cleaned.get("account"), cleaned.get("systems")
        if account is not None and systems is not None:
            strayed = [
                system.name
                for system in systems.select_related("account")
                if not system.account.path.startswith(account.path)
            ]
            if strayed:
                self.add_error(
                    "systems",
                    _("Not in the account's subtree: %s") % ", ".join(strayed[:10]),
                )
        return cleaned


@admin.register(SystemPool)
class SystemPoolAdmin(StaffAdmin):
    form = PoolAdminForm
    list_display = ("name", "kind", "account", "time_zone")
    list_filter = ("kind",)
    list_select_related = ("account",)
    search_fields = ("name", "account__name")
    search_help_text = _("Name or account")
    autocomplete_fields = ("account", "systems")
    ordering = ("name",)


class AssignmentAdminForm(TrialSaveForm):
    def clean_user(self):
        user = self.cleaned_data["user"]
        if user.role != Role.GRID_OPERATOR:
            self.add_error("user", _("This user is not a grid operator."))
        return user


@admin.register(SystemAssignment)
class SystemAssignmentAdmin(OfSystemAdmin):
    form = AssignmentAdminForm
    fixed_fields = ("system", "user")
    list_display = ("user", "system")
    list_select_related = ("user", "system")
    search_fields = ("user__email", "user__full_name", "system__name")
    search_help_text = _("Grid operator or system")
    autocomplete_fields = ("user", "system")


class ReasonFilter(NamedValuesFilter):
    @staticmethod
    def name_of(value: str) -> str:
        return str(REASONS.get(value, value))


@admin.register(GatewayFault)
class GatewayFaultAdmin(ReadOnlyAdmin):
    list_display = ("at", "since", "gateway", "topic", "why", "count", "detail")
    list_filter = ("topic", ("reason", ReasonFilter))
    list_select_related = ("gateway",)
    search_fields = ("gateway__serial", "detail", "reason")
    search_help_text = _("Serial number, reason or detail")
    date_hierarchy = "at"
    ordering = ("-at",)
    fields = ("at", "since", "gateway", "topic", "why", "reason", "detail", "count", "body_text")
    readonly_fields = ("body_text",)

    @admin.display(description=_("why"), ordering="reason")
    def why(self, obj: GatewayFault) -> str:
        return str(fault_in_words(obj).reason)

    @admin.display(description=_("body"))
    def body_text(self, obj: GatewayFault) -> str:
        return bytes(obj.body)[:MOST_BODY].decode("utf-8", "replace")
