"""The one gate: what a user sees, and what they may do there.

Pages, the API, sockets, exports, form choices and the admin all start from `visible_to`; what
changes something asks `require` besides. Out of scope is 404, so that existence is not leaked;
in scope but not allowed is 403.
"""

from enum import StrEnum
from typing import Self

from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a user may do in the subtree of the account that they are bound to."""

    VIEWER = "viewer", _("Viewer")
    RESIDENT = "resident", _("Resident")
    FLEET_MANAGER = "fleet_manager", _("Fleet manager")
    INSTALLER = "installer", _("Installer")
    ACCOUNT_ADMIN = "account_admin", _("Account admin")
    GRID_OPERATOR = "grid_operator", _("Grid operator")


class Action(StrEnum):
    """What can be done to something that is in sight."""

    VIEW = "view"
    CONSTRAIN = "constrain"
    NAME = "name"
    MANAGE_GROUPS = "manage_groups"
    MANAGE_INVENTORY = "manage_inventory"
    MANAGE_ACCOUNTS = "manage_accounts"


# The scope of a grid operator's token.
DIMMING = "dimming:write"

# The table of the domain's roles; staff may do everything. A grid operator acts by its token's
# scope alone, so its role allows nothing but looking.
ROLE_ACTIONS: dict[str, frozenset[Action]] = {
    Role.VIEWER: frozenset({Action.VIEW}),
    Role.RESIDENT: frozenset({Action.VIEW, Action.CONSTRAIN, Action.NAME}),
    Role.FLEET_MANAGER: frozenset({Action.VIEW, Action.CONSTRAIN, Action.MANAGE_GROUPS}),
    Role.INSTALLER: frozenset(
        {Action.VIEW, Action.NAME, Action.MANAGE_GROUPS, Action.MANAGE_INVENTORY}
    ),
    Role.ACCOUNT_ADMIN: frozenset(Action),
    Role.GRID_OPERATOR: frozenset({Action.VIEW}),
}


class ScopedQuerySet(models.QuerySet):
    """Rows that belong, by some path, to an account."""

    # Lookup from the row to the path of the account that owns it.
    account_path = "account__path"

    def visible_to(self, user) -> Self:
        """The rows that this user may see; none for who is signed out or inactive."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_staff:
            return self
        if user.account_id is None:
            return self.none()
        if user.role == Role.GRID_OPERATOR:
            return self.assigned_to(user)
        return self.filter(**{f"{self.account_path}__startswith": user.account.path})

    def assigned_to(self, user) -> Self:
        """The rows of the systems assigned to a grid operator; none where rows have no system."""
        return self.none()


def may(user, action: Action) -> bool:
    """Whether the user may do this to what is in their sight."""
    if not user.is_authenticated or not user.is_active:
        return False
    return user.is_staff or action in ROLE_ACTIONS[user.role]


def require(user, action: Action, target: models.Model) -> None:
    """Let pass who may do this to `target`.

    Raises Http404 where the target is out of the user's sight, PermissionDenied where it is in
    sight but the role does not allow the action.
    """
    if not type(target).objects.visible_to(user).filter(pk=target.pk).exists():
        raise Http404
    if not may(user, action):
        raise PermissionDenied
