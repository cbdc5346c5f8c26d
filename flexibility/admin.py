"""Staff support for flexibility: all of it to look at; what may be done by hand is an action.

Nothing is edited here: every change of what is asked has to be divided, resolved and sent.
"""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.admin import ReadOnlyAdmin
from flexibility.delivery import resend_schedules
from flexibility.emitters import emitter_of
from flexibility.limits.operations import withdraw_limit
from flexibility.models import (
    BulkAction,
    ChargingPolicy,
    Constraint,
    Dimming,
    DimmingProof,
    Flexibility,
    GatewaySchedule,
    Series,
    SharedLimit,
)
from flexibility.operations import withdraw_constraint
from gridx import clock

_TARGETS = ("appliance", "cluster", "pool")


class StandingFilter(admin.SimpleListFilter):
    """Whether it was withdrawn, is over, or stands."""

    title = _("state")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin):
        return [
            ("standing", _("stands")),
            ("over", _("over")),
            ("withdrawn", _("withdrawn")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = clock.now()
        if self.value() == "withdrawn":
            return queryset.filter(withdrawn_at__isnull=False)
        if self.value() == "over":
            return queryset.filter(withdrawn_at=None, invalid_at__lte=now)
        if self.value() == "standing":
            return queryset.filter(withdrawn_at=None).exclude(invalid_at__lte=now)
        return queryset


class WithdrawingAdmin(ReadOnlyAdmin):
    """Of what may be withdrawn; each says by which operation."""

    actions = ("withdraw",)

    def withdraw_one(self, row, request: HttpRequest) -> None:
        raise NotImplementedError

    @admin.action(description=_("Withdraw"))
    def withdraw(self, request: HttpRequest, queryset: QuerySet) -> None:
        withdrawn, reasons = 0, set()
        for row in queryset.filter(withdrawn_at=None):
            try:
                self.withdraw_one(row, request)
            except PermissionDenied as error:
                reasons.add(str(error))
            else:
                withdrawn += 1
        if withdrawn:
            text = ngettext("%d is withdrawn.", "%d are withdrawn.", withdrawn)
            messages.success(request, text % withdrawn)
        for reason in sorted(reasons):
            messages.warning(request, reason)


@admin.register(Constraint)
class ConstraintAdmin(WithdrawingAdmin):
    list_display = (
        "target",
        "emitter_kind",
        "emitter",
        "priority",
        "min_w",
        "max_w",
        "set_point_w",
        "valid_at",
        "invalid_at",
        "withdrawn_at",
    )
    list_filter = (StandingFilter, "emitter_kind")
    list_select_related = (*_TARGETS, "emitter")
    search_fields = (
        "appliance__name",
        "appliance__system__name",
        "appliance__gateway__serial",
        "cluster__name",
        "pool__name",
        "emitter__email",
        "=id",
    )
    search_help_text = _("Appliance, system, gateway, cluster, pool, person, or id")
    ordering = ("-created_at",)

    def withdraw_one(self, row: Constraint, request: HttpRequest) -> None:
        withdraw_constraint(constraint=row, by=emitter_of(request.user), now=clock.now())


@admin.register(Series)
class SeriesAdmin(ReadOnlyAdmin):
    list_display = ("title", "target", "emitter_kind", "emitter", "from_at", "until_at")
    list_filter = ("emitter_kind",)
    list_select_related = (*_TARGETS, "system", "emitter")
    search_fields = ("title", "appliance__name", "cluster__name", "pool__name", "system__name")
    ordering = ("-created_at",)


@admin.register(SharedLimit)
class SharedLimitAdmin(WithdrawingAdmin):
    list_display = (
        "target",
        "system",
        "emitter_kind",
        "emitter",
        "priority",
        "min_w",
        "max_w",
        "strategy",
        "is_reachable",
        "valid_at",
        "invalid_at",
        "withdrawn_at",
    )
    list_filter = (StandingFilter, "emitter_kind", "strategy")
    list_select_related = ("system", "cluster", "emitter")
    search_fields = ("cluster__name", "system__name", "system__gateway__serial", "=id")
    search_help_text = _("Cluster, system, gateway, or id")
    ordering = ("-created_at",)

    @admin.display(description=_("reachable"), boolean=True)
    def is_reachable(self, obj: SharedLimit) -> bool:
        return obj.is_reachable

    def withdraw_one(self, row: SharedLimit, request: HttpRequest) -> None:
        withdraw_limit(limit=row, by=emitter_of(request.user), now=clock.now())


@admin.register(ChargingPolicy)
class ChargingPolicyAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "mode", "priority", "valid_at", "invalid_at", "withdrawn_at")
    list_filter = (StandingFilter, "mode")
    list_select_related = ("appliance", "cluster", "system", "emitter")
    search_fields = ("appliance__name", "cluster__name", "system__name", "emitter__email")
    ordering = ("-created_at",)


class ProofInline(admin.TabularInline):
    model = DimmingProof
    can_delete = False
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj=None) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_add_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj=None) -> bool:
        return False


@admin.register(Dimming)
class DimmingAdmin(ReadOnlyAdmin):
    list_display = ("system", "mode", "emitter", "valid_at", "invalid_at", "withdrawn_at")
    list_filter = (StandingFilter, "mode")
    list_select_related = ("system", "emitter")
    search_fields = ("system__name", "system__gateway__serial", "emitter__email", "=id")
    inlines = (ProofInline,)
    ordering = ("-valid_at",)


@admin.register(Flexibility)
class FlexibilityAdmin(ReadOnlyAdmin):
    list_display = (
        "appliance",
        "system",
        "min_w",
        "max_w",
        "set_point_w",
        "can_pause",
        "applied_max_w",
        "refusal",
        "resolved_at",
        "changes_at",
    )
    list_filter = ("applied_fail_safe", "can_pause")
    list_select_related = ("appliance__system",)
    search_fields = ("appliance__name", "appliance__system__name", "appliance__gateway__serial")
    search_help_text = _("Appliance, system or gateway")
    ordering = ("-resolved_at",)

    @admin.display(description=_("system"), ordering="appliance__system__name")
    def system(self, obj: Flexibility) -> str:
        return str(obj.appliance.system)


@admin.register(GatewaySchedule)
class GatewayScheduleAdmin(ReadOnlyAdmin):
    list_display = (
        "gateway",
        "system",
        "revision",
        "published_revision",
        "acknowledged_revision",
        "acknowledged_at",
        "refusal",
        "until_at",
    )
    list_select_related = ("gateway__system",)
    search_fields = ("gateway__serial", "gateway__system__name")
    search_help_text = _("Gateway or system")
    ordering = ("-made_at",)
    actions = ("resend",)

    @admin.display(description=_("system"), ordering="gateway__system__name")
    def system(self, obj: GatewaySchedule) -> str:
        return str(obj.gateway.system)

    @admin.action(description=_("Send again"))
    def resend(self, request: HttpRequest, queryset: QuerySet[GatewaySchedule]) -> None:
        sent = resend_schedules(
            gateways=list(queryset.values_list("pk", flat=True)), by=request.user, now=clock.now()
        )
        text = ngettext("%d schedule is sent again.", "%d schedules are sent again.", sent)
        messages.success(request, text % sent)


@admin.register(BulkAction)
class BulkActionAdmin(ReadOnlyAdmin):
    list_display = ("verb", "by", "emitter_kind", "account", "created_at", "finished_at")
    list_filter = ("verb", "emitter_kind")
    list_select_related = ("by", "account")
    search_fields = ("by__email", "account__name", "=id")
    ordering = ("-created_at",)
