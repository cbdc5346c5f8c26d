"""Schedules on their way: sent, sent once more, and what gateways say that they made of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, TextField, Value, When
from django.db.models.functions import Cast, JSONArray, JSONObject

from accounts import outbox
from accounts.audit import Verb, record_change
from accounts.models import User
from accounts.rows import update_rows
from flexibility.models import Flexibility, GatewaySchedule
from flexibility.resolving import SCHEDULE
from inventory.models import Gateway

_APPLIED = (
    "applied_min_w",
    "applied_max_w",
    "applied_set_point_w",
    "applied_fail_safe",
    "applied_at",
    "applied_revision",
)
_SAID = ("acknowledged_revision", "acknowledged_at", "refusal", "refusal_detail")


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an appliance keeps to by its gateway's word, or why it does not (`refusal`, a code)."""

    min_w: float | None = None
    max_w: float | None = None
    set_point_w: float | None = None
    fail_safe: bool = False
    refusal: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What a gateway says that its appliances (ids) keep to, and of which schedule.

    `refusal` (a code) and `detail`: why it did not take the schedule over.
    """

    gateway: UUID
    revision: int
    applied: Mapping[UUID, Applied] = field(default_factory=dict)
    refusal: str = ""
    detail: str = ""


def record_published(*, revisions: Mapping[UUID, int], now: datetime) -> set[UUID]:
    """These schedules (by gateway) have reached the broker; returns those that are outdated.

    Of two that are sent at the same time the older may arrive last: who sent it learns so here,
    and sends the newest again.
    """
    with transaction.atomic():
        rows = GatewaySchedule.objects.select_for_update().filter(pk__in=list(revisions))
        # In the order of `resolving.hold_systems`.
        held = list(rows.order_by("pk"))
        newer = [row for row in held if revisions[row.pk] > row.published_revision]
        for row in newer:
            row.published_revision, row.published_at = revisions[row.pk], now
        update_rows(newer, ["published_revision", "published_at"])
    return {row.pk for row in held if revisions[row.pk] < row.revision}


def resend_schedules(*, gateways: Sequence[UUID], by: User, now: datetime) -> int:
    """Have the newest schedules of these gateways sent once more; returns of how many.

    It changes nothing of what is asked, and helps where the broker lost what it had kept.
    """
    with transaction.atomic():
        rows = GatewaySchedule.objects.select_for_update().filter(
            pk__in=gateways, gateway__revoked_at=None
        )
        held = list(rows.order_by("pk"))
        ids = [row.pk for row in held]
        GatewaySchedule.objects.filter(pk__in=ids).update(
            published_revision=0,
            # Who had confirmed it is waited for from now on.
            unconfirmed_since=Case(
                When(acknowledged_revision__lt=F("revision"), then=F("unconfirmed_since")),
                default=Value(now),
            ),
        )
        outbox.add_messages(kind=SCHEDULE, payloads=({"gateway": str(pk)} for pk in ids), now=now)
        for gateway in Gateway.objects.filter(pk__in=ids).select_related("system__account"):
            account = gateway.system.account
            record_change(verb=Verb.RESENT, target=gateway, account=account, by=by, now=now)
    return len(ids)


def record_acknowledgements(*, acknowledgements: Sequence[Acknowledgement], now: datetime) -> None:
    """What gateways say, in this order, that their appliances keep to."""
    schedules = {
        one.gateway: GatewaySchedule(
            pk=one.gateway,
            acknowledged_revision=one.revision,
            acknowledged_at=now,
            refusal=one.refusal,
            refusal_detail=one.detail,
        )
        for one in acknowledgements
    }
    rows = {
        appliance_id: Flexibility(
            pk=appliance_id,
            applied_min_w=applied.min_w,
            applied_max_w=applied.max_w,
            applied_set_point_w=applied.set_point_w,
            applied_fail_safe=applied.fail_safe,
            applied_at=now,
            applied_revision=one.revision,
            refusal=applied.refusal,
            refusal_detail=applied.detail,
        )
        for one in acknowledgements
        for appliance_id, applied in one.applied.items()
    }
    with transaction.atomic():
        # In the order of `record_published`.
        held = GatewaySchedule.objects.select_for_update().filter(pk__in=list(schedules))
        known = dict(held.order_by("pk").values_list("pk", "acknowledged_revision"))
        # Who only says once more what it said before has not got any further.
        further = [pk for pk in known if schedules[pk].acknowledged_revision > known[pk]]
        GatewaySchedule.objects.filter(pk__in=further).update(unconfirmed_since=now)
        update_rows(schedules.values(), _SAID)
        GatewaySchedule.objects.filter(
            pk__in=list(schedules), acknowledged_revision=F("revision"), refusal=""
        ).update(kept_until_at=F("until_at"), kept_body=F("body"))
        update_rows(rows.values(), [*_APPLIED, "refusal", "refusal_detail"])
        _forget_applied(schedules)


def _forget_applied(gateways: Collection[UUID]) -> None:
    """Who keeps to its newest schedule asks nothing any more of what that does not name."""
    part = JSONObject(appliance=Cast(OuterRef("pk"), TextField()))
    newest = GatewaySchedule.objects.filter(
        pk=OuterRef("appliance__gateway"), revision=F("acknowledged_revision")
    )
    Flexibility.objects.filter(
        Exists(newest.exclude(body__contains=JSONArray(part))),
        appliance__gateway__in=list(gateways),
        applied_at__isnull=False,
    ).update(**dict.fromkeys(_APPLIED) | {"applied_fail_safe": False})
