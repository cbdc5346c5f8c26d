import pytest

from accounts.access import Role
from accounts.models import AuditEntry, User
from inventory import operations, queries
from inventory.models import Appliance, Cluster, Gateway, System, SystemPool


@pytest.fixture
def bare(cast) -> System:
    """A system of the Meyers without a gateway."""
    return System.objects.create(account=cast.meyers, name="Garden")


def _last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("id")


def test_a_gateway_is_registered_with_a_secret_that_is_not_kept(cast, bare, now):
    gateway, secret = operations.register_gateway(
        system=bare, serial="GX-77", by=cast.installer, now=now
    )
    assert len(secret) >= 43
    stored = Gateway.objects.get(pk=gateway.pk)
    assert secret not in str(stored.__dict__)
    assert operations.is_secret_of(stored, secret)
    assert not operations.is_secret_of(stored, secret[:-1])
    entry = _last_entry()
    assert (entry.verb, entry.by, entry.account) == ("registered", cast.installer, cast.meyers)
    assert secret not in str(entry.__dict__)


@pytest.mark.parametrize(
    ("system", "serial", "words"),
    [
        ("lindenweg", "GX-77", "Lindenweg 12 has a gateway already"),
        ("bare", "GX-0002", "GX-0002 is registered already"),
        ("bare", "gx.*", "capital letters"),
    ],
)
def test_a_registration_that_cannot_be_is_refused_in_words(cast, bare, now, system, serial, words):
    target = bare if system == "bare" else cast.lindenweg
    with pytest.raises(operations.UnableToRegisterGateway, match=words):
        operations.register_gateway(system=target, serial=serial, by=None, now=now)
    assert not AuditEntry.objects.exists()


def test_a_new_secret_ends_the_old_one(cast, now):
    first = operations.rotate_secret(gateway=cast.gateway, by=cast.admin, now=now)
    second = operations.rotate_secret(gateway=cast.gateway, by=cast.admin, now=now)
    gateway = Gateway.objects.get(pk=cast.gateway.pk)
    assert not operations.is_secret_of(gateway, first)
    assert operations.is_secret_of(gateway, second)
    assert _last_entry().verb == "secret_rotated"


def test_a_revoked_gateway_has_no_secret_until_it_gets_a_new_one(cast, now):
    secret = operations.rotate_secret(gateway=cast.gateway, by=None, now=now)
    operations.revoke_gateway(gateway=cast.gateway, by=cast.admin, now=now)
    gateway = Gateway.objects.get(pk=cast.gateway.pk)
    assert gateway.revoked_at == now
    assert not operations.is_secret_of(gateway, secret)
    with pytest.raises(operations.UnableToChangeGateway, match="revoked already"):
        operations.revoke_gateway(gateway=gateway, by=cast.admin, now=now)
    fresh = operations.rotate_secret(gateway=gateway, by=cast.admin, now=now)
    assert operations.is_secret_of(Gateway.objects.get(pk=gateway.pk), fresh)


def test_a_gateway_without_a_secret_lets_nobody_in(cast):
    assert not operations.is_secret_of(cast.gateway, "")
    assert not operations.is_secret_of(cast.gateway, "anything")


def test_clusters_nest_and_dissolve_upwards(cast, now):
    hall = operations.create_cluster(system=cast.lindenweg, name="Hall", by=cast.fleet, now=now)
    row = operations.create_cluster(
        system=cast.lindenweg, name="Row", parent=hall, by=cast.fleet, now=now
    )
    inner = operations.create_cluster(
        system=cast.lindenweg, name="Inner", parent=row, by=cast.fleet, now=now
    )
    operations.move_appliance(appliance=cast.evcs, cluster=row, by=cast.fleet, now=now)
    operations.remove_cluster(cluster=row, by=cast.fleet, now=now)
    assert Appliance.objects.get(pk=cast.evcs.pk).cluster == hall
    assert Cluster.objects.get(pk=inner.pk).parent == hall
    assert not Cluster.objects.filter(name="Row").exists()


def test_a_cluster_within_itself_is_refused_in_words(cast, now):
    hall = operations.create_cluster(system=cast.lindenweg, name="Hall", by=None, now=now)
    row = operations.create_cluster(
        system=cast.lindenweg, name="Row", parent=hall, by=None, now=now
    )
    with pytest.raises(operations.UnableToGroup, match="cannot lie within itself"):
        operations.update_cluster(cluster=hall, name="Hall", parent=row, by=None, now=now)


def test_groups_do_not_reach_into_other_systems(cast, now):
    theirs = operations.create_cluster(system=cast.hafenstrasse, name="X", by=None, now=now)
    with pytest.raises(operations.UnableToGroup, match="own system"):
        operations.move_appliance(appliance=cast.evcs, cluster=theirs, by=None, now=now)
    with pytest.raises(operations.UnableToGroup, match="own system"):
        operations.create_cluster(system=cast.lindenweg, name="Y", parent=theirs, by=None, now=now)


def test_members_of_a_pool_lie_in_its_account(cast, bare, now):
    assert operations.add_members(
        pool=cast.pool, systems=[cast.lindenweg, bare], by=cast.fleet, now=now
    ) == 1  # fmt: skip
    with pytest.raises(operations.UnableToGroup, match="Hafenstraße 3 does not lie in North"):
        operations.add_members(pool=cast.pool, systems=[cast.hafenstrasse], by=cast.fleet, now=now)
    assert set(cast.pool.systems.all()) == {cast.lindenweg, bare}
    assert operations.remove_members(
        pool=cast.pool, systems=[bare, cast.hafenstrasse], by=cast.fleet, now=now
    ) == 1  # fmt: skip
    assert _last_entry().changes == {"removed": [bare.name]}


def test_an_account_that_moves_away_leaves_the_pool_and_takes_its_own_along(cast, now):
    own = SystemPool.objects.create(account=cast.meyers, name="Own")
    above = SystemPool.objects.create(account=cast.operator, name="All")
    for pool in (own, above):
        pool.systems.add(cast.lindenweg)
    left = queries.members_left_behind(cast.meyers, cast.south)
    assert [member.systempool for member in left] == [cast.pool]
    operations.move_account(account=cast.meyers, new_parent=cast.south, by=cast.admin, now=now)
    assert not cast.pool.systems.exists()
    assert own.systems.exists()
    assert above.systems.exists()


def test_a_system_that_changes_hands_leaves_the_pool(cast, now):
    operations.move_system(system=cast.lindenweg, account=cast.schmidts, by=cast.admin, now=now)
    assert not cast.pool.systems.exists()
    verbs = set(AuditEntry.objects.values_list("verb", flat=True))
    assert verbs == {"moved", "members_changed"}


def test_only_a_grid_operator_is_assigned_and_only_once(cast, bare, now):
    with pytest.raises(operations.UnableToAssign, match="not a grid operator"):
        operations.assign_system(system=bare, operator=cast.viewer, by=cast.admin, now=now)
    assignment = operations.assign_system(
        system=bare, operator=cast.grid_operator, by=cast.admin, now=now
    )
    assert bare in System.objects.visible_to(cast.grid_operator)
    with pytest.raises(operations.UnableToAssign, match="already"):
        operations.assign_system(system=bare, operator=cast.grid_operator, by=cast.admin, now=now)
    operations.end_assignment(assignment=assignment, by=cast.admin, now=now)
    assert bare not in System.objects.visible_to(cast.grid_operator)
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["assigned", "unassigned"]


def test_names_and_rooms_change_with_an_entry(cast, now):
    operations.update_appliance(
        appliance=cast.evcs, name="Wallbox", room="Garage", by=cast.mara, now=now
    )
    operations.rename_gateway(gateway=cast.gateway, name="Cellar", by=cast.mara, now=now)
    operations.update_system(system=cast.lindenweg, name="Home", by=cast.mara, now=now)
    changes = [entry.changes for entry in AuditEntry.objects.order_by("id")]
    assert changes == [
        {"name": ["Car", "Wallbox"], "room": ["", "Garage"]},
        {"name": ["", "Cellar"]},
        {"name": ["Lindenweg 12", "Home"]},
    ]


def test_a_system_is_added_with_its_place_and_its_time_zone(cast, now):
    system = operations.create_system(
        account=cast.meyers, name="Hut", by=cast.installer, now=now, time_zone="Europe/Lisbon"
    )
    assert System.objects.get(pk=system.pk).zone.key == "Europe/Lisbon"
    assert system.key > 0


def test_who_is_no_grid_operator_any_more_sees_what_their_account_sees(cast):
    User.objects.filter(pk=cast.grid_operator.pk).update(role=Role.VIEWER)
    user = User.objects.get(pk=cast.grid_operator.pk)
    assert set(System.objects.visible_to(user)) == {cast.hafenstrasse}
