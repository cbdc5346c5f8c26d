"""Who may ask for what, and how much it weighs.

A priority depends on the kind of emitter: each has a default and a ceiling
(`settings.CONSTRAINT_PRIORITIES`), and the kind depends on who is asking, never on what they say.
"""

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _

from accounts.access import DIMMING, Action, Role, may
from accounts.models import User
from flexibility.resolver import PHYSICAL, EmitterKind
from inventory.models import System


class UnableToConstrain(Exception):
    """The constraint cannot be set; `field` is the one at fault, `number` its place in a batch."""

    def __init__(self, field: str, reason: str, *, number: int | None = None) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.number = number


@dataclass(frozen=True)
class Emitter:
    """A kind, and the person where it is one."""

    kind: EmitterKind
    user: User | None = None


def emitter_of(user: User, *, scopes: Collection[str] = (), home: System | None = None) -> Emitter:
    """As what a user sets constraints. Raises PermissionDenied for those who may not.

    A grid operator acts by a token with the scope `dimming:write`, and in no other way. With
    `home` an account user asks to act as the resident of that system, which counts where they
    are bound to the customer whose it is.
    """
    if user.is_authenticated and user.is_active and user.is_staff:
        return Emitter(EmitterKind.OPERATOR, user)
    if user.is_authenticated and user.role == Role.GRID_OPERATOR:
        if user.is_active and DIMMING in scopes:
            return Emitter(EmitterKind.GRID_OPERATOR, user)
        raise PermissionDenied
    if not may(user, Action.CONSTRAIN):
        raise PermissionDenied
    is_local = user.role == Role.RESIDENT or (home is not None and _lives_at(user, home))
    return Emitter(EmitterKind.LOCAL_USER if is_local else EmitterKind.ACCOUNT_USER, user)


def emitters_of(user: User, *, home: System | None = None) -> list[Emitter]:
    """All that a user may act as by hand, at `home` too, the usual one first.

    Raises PermissionDenied for those who may not.
    """
    found = [emitter_of(user), emitter_of(user, home=home)]
    return found[: 1 + (found[0] != found[1])]


def kind_of(user: User) -> EmitterKind:
    """As what kind of emitter a user acts; `emitter_of` says whether they may."""
    if user.is_staff:
        return EmitterKind.OPERATOR
    kinds = {
        Role.GRID_OPERATOR: EmitterKind.GRID_OPERATOR,
        Role.RESIDENT: EmitterKind.LOCAL_USER,
    }
    return kinds.get(user.role, EmitterKind.ACCOUNT_USER)


def _lives_at(user: User, home: System) -> bool:
    return user.account_id == home.account_id and user.account.is_customer


def default_priority(kind: EmitterKind) -> int:
    """What a constraint of this kind of emitter weighs where nothing is said."""
    return PHYSICAL if kind is EmitterKind.DRIVER else settings.CONSTRAINT_PRIORITIES[kind][0]


def ceiling(kind: EmitterKind) -> int:
    """The most that it may weigh."""
    return PHYSICAL if kind is EmitterKind.DRIVER else settings.CONSTRAINT_PRIORITIES[kind][1]


def floor(kind: EmitterKind) -> int:
    """The least that it may weigh: what the wiring bears gives way to physics alone."""
    return default_priority(kind) if kind is EmitterKind.FUSE else 0


def priority_of(kind: EmitterKind, asked: int | None) -> int:
    """What a constraint weighs. Raises UnableToConstrain beyond what its emitter may."""
    if asked is None:
        return default_priority(kind)
    least, greatest = floor(kind), ceiling(kind)
    if not least <= asked <= greatest:
        reason = _("From %(least)s to %(greatest)s: higher needs a higher kind of emitter.")
        raise UnableToConstrain("priority", reason % {"least": least, "greatest": greatest})
    return asked
