"""The wire's schedules: limits of charging stations and of grid connections, which are series."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import REFUSALS
from accounts.wire import ErrorSerializer
from flexibility.api import caller
from flexibility.emitters import UnableToConstrain
from flexibility.models import Constraint, Series
from flexibility.operations import LONGEST_VALIDITY
from flexibility.series.operations import SeriesDraft, series_draft_of, set_series, withdraw_series
from flexibility.series.wire import (
    ChargingScheduleSerializer,
    PowerLimitScheduleSerializer,
    charging_draft_of,
    power_limit_draft_of,
    series_refusal,
)
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import System

# Of the schedules of charging stations those are listed that begin within it.
LISTED_AHEAD = timedelta(hours=24)
CHANGE_REFUSALS = {**REFUSALS, 422: ErrorSerializer}


class SeriesScope(generics.GenericAPIView):
    """Series of a system in sight, for appliances of one kind."""

    pagination_class = None
    kind: ApplianceKind

    def get_system(self) -> System:
        visible = System.objects.visible_to(self.request.user).select_related("account")
        return get_object_or_404(visible, pk=self.kwargs["system_id"])

    def series_of(self, system: System, now: datetime) -> QuerySet[Series]:
        rows = Constraint.objects.filter(series=OuterRef("pk"), withdrawn_at=None)
        return (
            Series.objects.filter(system=system, kinds=[self.kind.value], withdrawn_at=None)
            .annotate(
                holds_now=Exists(rows.filter(valid_at__lte=now, invalid_at__gt=now)),
                comes_again=Exists(rows.filter(valid_at__gt=now)),
            )
            .order_by("from_at", "pk")
        )

    def get_series(self, schedule_id: UUID) -> Series:
        found = self.series_of(self.get_system(), clock.now())
        return get_object_or_404(found.select_related("system__account"), pk=schedule_id)

    def withdraw(self, series: Series) -> Response:
        withdraw_series(series=series, by=caller(self.request), now=clock.now())
        return Response(status=204)

    def set(
        self, system: System, draft: SeriesDraft, *, series: Series | None, status: int
    ) -> Response:
        now = clock.now()
        try:
            found = set_series(
                target=system, draft=draft, emitter=caller(self.request), now=now, series=series
            )
        except UnableToConstrain as error:
            raise series_refusal(error) from error
        shown = self.series_of(system, now).get(pk=found.pk)
        return Response(self.get_serializer_class()(shown).data, status=status)


# Of charging stations ----------------------------------------------------------------------------


class ChargingScheduleList(SeriesScope):
    serializer_class = ChargingScheduleSerializer
    kind = ApplianceKind.EV_CHARGING_STATION

    @extend_schema(
        tags=["ev_charging_schedule"],
        responses={200: ChargingScheduleSerializer(many=True), **REFUSALS},
    )
    def get(self, request: Request, system_id) -> Response:
        """The limits of a system's charging stations that hold, and those of the next 24 h."""
        now = clock.now()
        rows = self.series_of(self.get_system(), now).filter(
            until_at__gt=now, from_at__lte=now + LISTED_AHEAD
        )
        return Response(ChargingScheduleSerializer(rows, many=True).data)

    @extend_schema(
        tags=["ev_charging_schedule"],
        responses={201: ChargingScheduleSerializer, **CHANGE_REFUSALS},
    )
    def post(self, request: Request, system_id) -> Response:
        """Limits each charging station that the system has, from one instant to another."""
        system = self.get_system()
        caller(request)
        fields = ChargingScheduleSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        draft = charging_draft_of(fields.validated_data, time_zone=system.time_zone)
        if draft.until_at > clock.now() + LONGEST_VALIDITY:
            reason = _("At most %d days ahead.") % LONGEST_VALIDITY.days
            raise ValidationError({"to": [reason]})
        return self.set(system, draft, series=None, status=201)


class ChargingScheduleDetail(SeriesScope):
    serializer_class = ChargingScheduleSerializer
    kind = ApplianceKind.EV_CHARGING_STATION

    @extend_schema(
        tags=["ev_charging_schedule"], responses={200: ChargingScheduleSerializer, **REFUSALS}
    )
    def get(self, request: Request, system_id, charging_schedule_id) -> Response:
        """One limit of a system's charging stations."""
        return Response(ChargingScheduleSerializer(self.get_series(charging_schedule_id)).data)

    @extend_schema(tags=["ev_charging_schedule"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, system_id, charging_schedule_id) -> Response:
        """Withdraws a limit of a system's charging stations."""
        return self.withdraw(self.get_series(charging_schedule_id))


# Of grid connections -----------------------------------------------------------------------------


class PowerLimitScope(SeriesScope):
    serializer_class = PowerLimitScheduleSerializer
    kind = ApplianceKind.GRID_METER

    def require_title(self, system: System, title: str, *, besides: UUID | None) -> None:
        """Raise ValidationError where another one of the system has this title."""
        now = clock.now()
        others = self.series_of(system, now).filter(title=title, until_at__gt=now)
        if others.exclude(pk=besides).exists():
            raise ValidationError({"title": [_("There is one of this title already.")]})


class PowerLimitScheduleList(PowerLimitScope):
    @extend_schema(
        tags=["power_limit_schedule"],
        responses={200: PowerLimitScheduleSerializer(many=True), **REFUSALS},
    )
    def get(self, request: Request, system_id) -> Response:
        """The recurring limits of what a system imports, those that are over too."""
        rows = self.series_of(self.get_system(), clock.now())
        return Response(PowerLimitScheduleSerializer(rows, many=True).data)

    @extend_schema(
        tags=["power_limit_schedule"],
        responses={201: PowerLimitScheduleSerializer, **CHANGE_REFUSALS},
    )
    def post(self, request: Request, system_id) -> Response:
        """Limits what a system imports, again and again at the same times of the day."""
        system = self.get_system()
        caller(request)
        fields = PowerLimitScheduleSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        draft = power_limit_draft_of(fields.validated_data, time_zone=system.time_zone)
        self.require_title(system, draft.title, besides=None)
        return self.set(system, draft, series=None, status=201)


class PowerLimitScheduleDetail(PowerLimitScope):
    @extend_schema(
        tags=["power_limit_schedule"], responses={200: PowerLimitScheduleSerializer, **REFUSALS}
    )
    def get(self, request: Request, system_id, schedule_id) -> Response:
        """One recurring limit of what a system imports."""
        return Response(PowerLimitScheduleSerializer(self.get_series(schedule_id)).data)

    @extend_schema(
        tags=["power_limit_schedule"],
        responses={200: PowerLimitScheduleSerializer, **CHANGE_REFUSALS},
    )
    def patch(self, request: Request, system_id, schedule_id) -> Response:
        """Changes a recurring limit from now on; what it did before stays as it was."""
        series = self.get_series(schedule_id)
        caller(request)
        fields = PowerLimitScheduleSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        draft = power_limit_draft_of(
            fields.validated_data,
            time_zone=series.time_zone,
            before=series_draft_of(series),
        )
        self.require_title(series.system, draft.title, besides=series.pk)
        return self.set(series.system, draft, series=series, status=200)

    @extend_schema(tags=["power_limit_schedule"], responses={204: None, **REFUSALS})
    def delete(self, request: Request, system_id, schedule_id) -> Response:
        """Withdraws a recurring limit: it ends at once."""
        return self.withdraw(self.get_series(schedule_id))
