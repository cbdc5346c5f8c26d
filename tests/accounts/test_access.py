"""The one gate: who sees what, and who may do what."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404

from accounts.access import ROLE_ACTIONS, Action, Role, may, require
from accounts.models import Account, AuditEntry, User
from inventory.models import Appliance, Cluster, Gateway, GatewayFault, System, SystemPool

SCOPED = [
    Account, User, AuditEntry, System, Gateway, GatewayFault, Cluster, Appliance, SystemPool,
]  # fmt: skip


@pytest.mark.parametrize("model", SCOPED)
def test_nobody_who_is_signed_out_sees_anything(cast, model):
    assert not model.objects.visible_to(AnonymousUser()).exists()


@pytest.mark.parametrize("model", SCOPED)
def test_nobody_who_is_inactive_sees_anything(cast, model):
    cast.admin.is_active = False
    assert not model.objects.visible_to(cast.admin).exists()


def test_a_user_sees_the_subtree_of_their_account_and_nothing_beside_it(cast):
    seen = set(Account.objects.visible_to(cast.fleet))
    assert seen == {cast.north, cast.meyers}
    assert set(System.objects.visible_to(cast.fleet)) == {cast.lindenweg}
    assert set(System.objects.visible_to(cast.south_admin)) == {cast.hafenstrasse}
    assert set(System.objects.visible_to(cast.admin)) == {cast.lindenweg, cast.hafenstrasse}


def test_a_sibling_whose_key_begins_alike_is_out_of_sight(cast):
    # Keys 1000012 and 10000123: one path's digits begin with the other's.
    short = Account.objects.create(name="Short", parent=cast.operator, key=1_000_012)
    Account.objects.create(name="Long", parent=cast.operator, key=10_000_123)
    cast.viewer.account = Account.objects.get(pk=short.pk)
    assert set(Account.objects.visible_to(cast.viewer)) == {short}


def test_a_resident_sees_their_own_system_only(cast):
    assert set(System.objects.visible_to(cast.mara)) == {cast.lindenweg}
    assert set(Gateway.objects.visible_to(cast.mara)) == {cast.gateway}
    assert cast.other_meter not in Appliance.objects.visible_to(cast.mara)
    assert not SystemPool.objects.visible_to(cast.mara).exists()


def test_a_grid_operator_sees_what_is_assigned_and_nothing_else(cast):
    user = cast.grid_operator
    assert set(System.objects.visible_to(user)) == {cast.lindenweg}
    assert set(Gateway.objects.visible_to(user)) == {cast.gateway}
    assert Appliance.objects.visible_to(user).count() == 4
    assert not Account.objects.visible_to(user).exists()
    assert not User.objects.visible_to(user).exists()
    assert not SystemPool.objects.visible_to(user).exists()


def test_staff_sees_everything(cast):
    for model in SCOPED:
        assert model.objects.visible_to(cast.staff).count() == model.objects.count()


def test_what_is_out_of_sight_is_not_found_and_what_is_not_allowed_is_refused(cast):
    with pytest.raises(Http404):
        require(cast.mara, Action.VIEW, cast.hafenstrasse)
    with pytest.raises(Http404):
        require(cast.south_admin, Action.MANAGE_INVENTORY, cast.lindenweg)
    with pytest.raises(PermissionDenied):
        require(cast.viewer, Action.CONSTRAIN, cast.lindenweg)
    require(cast.mara, Action.CONSTRAIN, cast.lindenweg)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, {"view"}),
        (Role.RESIDENT, {"view", "constrain", "name"}),
        (Role.FLEET_MANAGER, {"view", "constrain", "manage_groups"}),
        (Role.INSTALLER, {"view", "name", "manage_groups", "manage_inventory"}),
        (Role.ACCOUNT_ADMIN, {action.value for action in Action}),
        (Role.GRID_OPERATOR, {"view"}),
    ],
)
def test_each_role_may_do_what_the_domain_says(role, allowed):
    user = User(role=role)
    assert {action.value for action in Action if may(user, action)} == allowed


def test_every_role_has_its_row():
    assert set(ROLE_ACTIONS) == set(Role)


def test_staff_may_do_everything_and_who_is_signed_out_nothing(cast):
    assert all(may(cast.staff, action) for action in Action)
    assert not any(may(AnonymousUser(), action) for action in Action)
