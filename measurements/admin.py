"""Staff support for the measurements: imports; what the nightly check found, and mending it."""

from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin import ReadOnlyAdmin
from gridx import clock
from inventory.models import System
from measurements.checks import repair_day
from measurements.formats import kilowatt_hours
from measurements.models import DayCheck, RecordingImport
from measurements.slots.checking import KeptChanging
from measurements.words import FIGURES


@admin.register(RecordingImport)
class RecordingImportAdmin(ReadOnlyAdmin):
    list_display = ("file_name", "system", "by", "created_at", "state", "reason")
    list_filter = ("state",)
    list_select_related = ("system", "by")
    search_fields = ("file_name", "system__name", "by__email", "=id")
    search_help_text = gettext_lazy("File, system, person, or id")
    ordering = ("-created_at",)


class DifferingFilter(admin.SimpleListFilter):
    """Whether what was stored is what follows from the readings."""

    title = gettext_lazy("result")
    parameter_name = "result"

    def lookups(self, request: HttpRequest, model_admin):
        return [
            ("differs", _("differs")),
            ("repaired", _("repaired")),
            ("right", _("right")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "differs":
                return queryset.wrong()
            case "repaired":
                return queryset.exclude(repaired_at=None)
            case "right":
                return queryset.filter(differing=0)
        return queryset


@admin.register(DayCheck)
class DayCheckAdmin(ReadOnlyAdmin):
    actions = ("repair",)
    list_display = ("day", "system", "checked_at", "slots", "differing", "figures", "repaired_at")
    list_filter = (DifferingFilter,)
    search_fields = ("system_name",)
    search_help_text = gettext_lazy("System")
    ordering = ("-checked_at", "-id")
    readonly_fields = list_display
    fields = readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        systems = System.objects.filter(key=OuterRef("system_key"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                system_name=Subquery(systems.values("name")[:1]),
                zone_name=Subquery(systems.values("time_zone")[:1]),
            )
            .exclude(system_name=None)  # it was removed since
        )

    @admin.display(description=gettext_lazy("system"), ordering="system_name")
    def system(self, obj: DayCheck) -> str:
        return obj.system_name

    @admin.display(description=gettext_lazy("day"), ordering="start")
    def day(self, obj: DayCheck) -> str:
        return date_format(obj.start.astimezone(ZoneInfo(obj.zone_name)))

    @admin.display(description=gettext_lazy("figures as stored and as they follow"))
    def figures(self, obj: DayCheck) -> str:
        return "; ".join(
            _("%(figure)s: %(stored)s stored, %(follows)s from the readings")
            % {"figure": FIGURES[name], "stored": _energy(stored), "follows": _energy(follows)}
            for name, (stored, follows) in obj.changes.items()
        )

    @admin.action(description=gettext_lazy("Compute anew from the readings, and store it"))
    def repair(self, request: HttpRequest, queryset: QuerySet) -> None:
        repaired, busy = 0, 0
        for check in queryset:
            try:
                repair_day(check=check, by=request.user, now=clock.now())
            except KeptChanging:
                busy += 1
            else:
                repaired += 1
        if repaired:
            text = ngettext(
                "%d day follows from its readings now.",
                "%d days follow from their readings now.",
                repaired,
            )
            messages.success(request, text % repaired)
        if busy:
            text = ngettext(
                "Readings of %d day are just arriving: try again.",
                "Readings of %d days are just arriving: try again.",
                busy,
            )
            messages.warning(request, text % busy)


def _energy(mwh: int | None) -> str:
    return _("nothing") if mwh is None else f"{kilowatt_hours(mwh, 3)} kWh"
