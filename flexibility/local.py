"""What gateways say of their appliances: what drivers can do, what residents wish on the spot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from uuid import UUID

from django.db import transaction

from flexibility.emitters import Emitter, UnableToConstrain, default_priority
from flexibility.models import Constraint
from flexibility.operations import Draft, checked, drafted
from flexibility.resolver import EmitterKind
from flexibility.resolving import resolve_systems
from inventory.models import Appliance


@dataclass(frozen=True, kw_only=True)
class DriverLimits:
    """What an appliance can do physically, as it is now."""

    min_w: float | None = None
    max_w: float | None = None
    pausable: bool = False
    min_wh: float | None = None
    max_wh: float | None = None


def set_driver_limits(
    *, limits: Mapping[UUID, DriverLimits], now: datetime
) -> dict[UUID, UnableToConstrain]:
    """Take over what gateways say that their appliances (ids) can do; newer replaces older.

    What contradicts itself is left out, and returned with the reason.
    """
    refused: dict[UUID, UnableToConstrain] = {}
    with transaction.atomic():
        standing = {
            row.appliance_id: asdict(_limits_of(row))
            for row in Constraint.objects.filter(
                appliance__in=list(limits), emitter_kind=EmitterKind.DRIVER, withdrawn_at=None
            )
        }
        rows = []
        for appliance_id, limit in limits.items():
            if standing.get(appliance_id) == asdict(limit):
                continue
            row = Constraint(
                created_at=now,
                valid_at=now,
                appliance_id=appliance_id,
                emitter_kind=EmitterKind.DRIVER.value,
                priority=default_priority(EmitterKind.DRIVER),
                from_gateway=True,
                **asdict(limit),
            )
            try:
                checked(row)
            except UnableToConstrain as error:
                refused[appliance_id] = error
            else:
                rows.append(row)
        named = [row.appliance_id for row in rows]
        _replace(named, rows, emitter_kind=EmitterKind.DRIVER, now=now)
    return refused


def set_local_wishes(
    *, wishes: Mapping[UUID, Sequence[Draft]], now: datetime
) -> dict[UUID, UnableToConstrain]:
    """Take over what residents asked for at their appliances (ids) themselves.

    It replaces what the gateway said of the appliance's wishes before; a wish that is over only
    ends those. One that makes no sense is left out, and returned with the reason.
    """
    emitter = Emitter(EmitterKind.LOCAL_USER)
    refused: dict[UUID, UnableToConstrain] = {}
    with transaction.atomic():
        appliances = Appliance.objects.in_bulk(list(wishes))
        rows = []
        for appliance_id, drafts in wishes.items():
            for draft in drafts:
                if draft.invalid_at is not None and draft.invalid_at <= now:
                    continue
                try:
                    row = drafted(draft, target=appliances[appliance_id], emitter=emitter, now=now)
                except UnableToConstrain as error:
                    refused[appliance_id] = error
                else:
                    row.from_gateway = True
                    rows.append(row)
        _replace(list(wishes), rows, emitter_kind=emitter.kind, now=now)
    return refused


def _replace(
    appliances: Sequence[UUID],
    rows: Sequence[Constraint],
    *,
    emitter_kind: EmitterKind,
    now: datetime,
) -> None:
    """Put these in the place of what the gateway said of the appliances before."""
    replaced = Constraint.objects.filter(
        appliance__in=appliances, emitter_kind=emitter_kind, from_gateway=True, withdrawn_at=None
    ).update(withdrawn_at=now)
    Constraint.objects.bulk_create(rows)
    if replaced or rows:
        systems = Appliance.objects.filter(pk__in=appliances).values_list("system", flat=True)
        resolve_systems(systems=set(systems), now=now)


def _limits_of(row: Constraint) -> DriverLimits:
    return DriverLimits(**{name.name: getattr(row, name.name) for name in fields(DriverLimits)})
