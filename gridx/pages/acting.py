"""As whom somebody acts on what is asked of appliances, and what they may do with it by hand."""

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied

from accounts.models import User
from flexibility.emitters import Emitter, emitters_of
from flexibility.models import Constraint, Series
from flexibility.operations import require_own
from inventory.models import System


def emitters_or_none(user: User, home: System | None) -> list[Emitter]:
    """All that the user may act as at this home; nothing for those who may not."""
    try:
        return emitters_of(user, home=home)
    except PermissionDenied:
        return []


def acting_on(row: Constraint | Series, user: User) -> Emitter:
    """As what the user acts on this row: as its own kind of emitter where they may be that.

    Raises PermissionDenied for those who set no constraints.
    """
    emitters = emitters_of(user, home=home_of(row))
    return next((one for one in emitters if one.kind == row.emitter_kind), emitters[0])


def home_of(row: Constraint | Series) -> System | None:
    """The one system that a row is about; None for a pool."""
    if row.pool_id:
        return None
    if isinstance(row, Series) and row.system_id:
        return row.system
    return (row.appliance or row.cluster).system


def may_withdraw(row: Constraint | Series, emitter: Emitter | None) -> bool:
    """Whether somebody may end it by hand; what the program set would only come again."""
    if emitter is None:
        return False
    if isinstance(row, Constraint) and (row.policy_id or row.limit_id):
        return False
    try:
        require_own(row, emitter)
    except PermissionDenied:
        return False
    return True


def may_withdraw_as(row: Constraint | Series, emitters: Iterable[Emitter]) -> bool:
    """Whether one of these may."""
    return any(may_withdraw(row, one) for one in emitters)


def may_edit(row: Constraint | Series, emitter: Emitter) -> bool:
    """Whether somebody may change it by hand: their own kind, where a person set it here."""
    if isinstance(row, Constraint) and (
        row.policy_id or row.limit_id or row.dimming_id or row.from_gateway
    ):
        return False
    return row.emitter_kind == emitter.kind


def is_editable(series: Series) -> bool:
    """Whether the form can show it: one time of the day, and no whole system."""
    return series.system_id is None and len(series.parts) == 1
