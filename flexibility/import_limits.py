"""The limit of a gateway's import: a constraint on its grid meter, one for each kind of emitter.

The wire's limit has no end, but a constraint needs one: it gets the longest, and setting it again
moves that on.
"""

from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.db.models import Q

from flexibility.emitters import Emitter
from flexibility.models import Constraint
from flexibility.operations import (
    LONGEST_VALIDITY,
    Draft,
    set_constraints,
    withdraw_constraint,
)
from flexibility.queries import State, constraints_on
from flexibility.resolver import EmitterKind
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway

# Clients that set the same again and again change nothing more often.
RENEWED_AFTER = timedelta(days=1)


def grid_meter_of(gateway: Gateway) -> Appliance | None:
    """The meter at the grid connection of a gateway's system, with its system and account."""
    meters = Appliance.objects.filter(
        gateway=gateway, kind=ApplianceKind.GRID_METER, removed_at=None
    )
    return meters.select_related("system__account").order_by("key").first()


def import_limit_on(
    meter: Appliance, *, kind: EmitterKind | None, now: datetime
) -> Constraint | None:
    """The limit that this kind of emitter set, else the lowest of all that hold; None without."""
    limits = constraints_on(meter, states=[State.ACTIVE], now=now).filter(
        ~Q(emitter_kind=EmitterKind.DRIVER), max_w__isnull=False
    )
    own = None if kind is None else limits.filter(pk=_identity(meter, kind)).first()
    return own or limits.order_by("max_w", "pk").first()


def set_import_limit(
    *, meter: Appliance, max_w: float, emitter: Emitter, now: datetime
) -> Constraint:
    """Limit what is imported (W), in the place of what this kind of emitter said before.

    Raises UnableToConstrain.
    """
    before = _own(meter, emitter, now)
    renewed = now + LONGEST_VALIDITY - RENEWED_AFTER
    if before is not None and before.max_w == max_w and before.invalid_at > renewed:
        return before
    draft = Draft(
        id=_identity(meter, emitter.kind),
        max_w=max_w,
        valid_at=before.valid_at if before is not None else now,
        invalid_at=now + LONGEST_VALIDITY,
    )
    [row] = set_constraints(target=meter, drafts=[draft], emitter=emitter, now=now)
    return row


def lift_import_limit(*, meter: Appliance, emitter: Emitter, now: datetime) -> None:
    """Withdraw the limit of this kind of emitter; nothing where there is none."""
    before = _own(meter, emitter, now)
    if before is not None:
        withdraw_constraint(constraint=before, by=emitter, now=now)


def _own(meter: Appliance, emitter: Emitter, now: datetime) -> Constraint | None:
    standing = constraints_on(meter, states=[State.ACTIVE], now=now)
    return standing.filter(pk=_identity(meter, emitter.kind)).first()


def _identity(meter: Appliance, kind: EmitterKind) -> UUID:
    """The same for the same meter and kind, so that the newer replaces the older."""
    return uuid5(meter.pk, f"import limit of {kind}")
