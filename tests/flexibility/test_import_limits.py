"""The wire's limit of a system's import is a constraint on its grid meter."""

from datetime import timedelta
from uuid import uuid4

import pytest
from gridx_connector_api.models.get_systems_system_id_gateways_gateway_id_import_power_limit_response_200 import (  # noqa: E501
    GetSystemsSystemIDGatewaysGatewayIDImportPowerLimitResponse200 as LimitRead,
)
from gridx_connector_api.models.put_systems_system_id_gateways_gateway_id_import_power_limit_response_201 import (  # noqa: E501
    PutSystemsSystemIDGatewaysGatewayIDImportPowerLimitResponse201 as LimitSet,
)

from accounts.models import AuditEntry
from flexibility.models import Constraint, Flexibility
from gridx import clock
from inventory.models import Appliance
from tests.flexibility.asking import as_, read, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
DAY = timedelta(days=1)


@pytest.fixture
def path(cast) -> str:
    return f"systems/{cast.lindenweg.pk}/gateways/{cast.gateway.pk}/import-power-limit"


@pytest.fixture
def put(cast, path):
    """Sets a limit, by default as the fleet manager."""

    def send(by=None, status=201, **fields):
        answer = as_(by or cast.fleet).put(f"/api/{path}", fields)
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


def test_a_limit_is_a_constraint_on_the_grid_meter_for_the_longest_time(cast, path, put, now):
    found = put(maxImportTotal=11_000)
    row = Constraint.objects.get()
    assert (row.appliance, row.max_w, row.min_w) == (cast.grid_meter, 11_000, None)
    assert (row.emitter_kind, row.priority) == ("account_user", 3_000)
    assert (row.valid_at, row.invalid_at) == (now, now + 400 * DAY)
    assert Flexibility.objects.get(pk=cast.grid_meter.pk).max_w == 11_000
    assert found == read(as_(cast.viewer), path)
    assert (found["maxImportTotal"], found["maxImportL1"]) == (11_000, 3_667)
    assert (found["createdAt"], found["updatedAt"]) == (wire(now), wire(now))


def test_the_fields_typed_client_reads_the_answers(cast, path, put):
    assert LimitSet.from_dict(put(maxImportTotal=11_000)).max_import_total == 11_000
    read_back = LimitRead.from_dict(read(as_(cast.fleet), path))
    assert read_back.internal_device_id == str(cast.grid_meter.pk)
    # What was read may be sent again.
    assert LimitSet.from_dict(put(**read_back.to_dict())).to_dict() == read_back.to_dict()


def test_the_same_again_changes_nothing_and_another_replaces_it(cast, path, put, now, monkeypatch):
    put(maxImportTotal=11_000)
    for hours in (1, 23):
        monkeypatch.setattr(clock, "now", lambda hours=hours: now + timedelta(hours=hours))
        assert put(maxImportTotal=11_000)["updatedAt"] == wire(now)
    assert AuditEntry.objects.filter(verb="constrained").count() == 1
    monkeypatch.setattr(clock, "now", lambda: now + DAY)
    found = put(maxImportTotal=11_000)
    assert (found["createdAt"], found["updatedAt"]) == (wire(now), wire(now + DAY))
    assert put(maxImportTotal=9_000)["maxImportTotal"] == 9_000
    row = Constraint.objects.get(withdrawn_at=None)
    assert (row.max_w, row.invalid_at) == (9_000, now + 401 * DAY)


def test_each_kind_of_emitter_has_its_own(cast, path, put):
    put(maxImportTotal=11_000)
    put(by=cast.mara, maxImportTotal=9_000)
    put(by=cast.admin, maxImportTotal=10_000)
    assert Constraint.objects.filter(withdrawn_at=None).count() == 2
    seen = {
        person: read(as_(getattr(cast, person)), path)["maxImportTotal"]
        for person in ("fleet", "admin", "mara", "viewer", "staff")
    }
    lowest = 9_000
    assert seen == {
        "fleet": 10_000, "admin": 10_000, "mara": 9_000, "viewer": lowest, "staff": lowest
    }  # fmt: skip
    assert as_(cast.mara).delete(f"/api/{path}").status_code == 204
    assert read(as_(cast.mara), path)["maxImportTotal"] == 10_000


def test_lifting_withdraws_the_callers_own_and_may_be_said_twice(cast, path, put):
    put(maxImportTotal=11_000)
    for _again in range(2):
        assert as_(cast.fleet).delete(f"/api/{path}").status_code == 204
    assert as_(cast.fleet).get(f"/api/{path}").status_code == 404
    assert Constraint.objects.get().withdrawn_by == cast.fleet
    assert put(maxImportTotal=8_000)["maxImportTotal"] == 8_000
    assert read(as_(cast.fleet), path)["maxImportTotal"] == 8_000


def test_the_sum_of_the_phases_limits_too(put):
    assert put(maxImportL1=3_000, maxImportL2=3_000, maxImportL3=3_000)["maxImportTotal"] == 9_000
    found = put(maxImportTotal=9_000, maxImportL1=4_000, maxImportL2=4_000, maxImportL3=4_000)
    assert found["maxImportTotal"] == 9_000
    assert put(numberOfPhases=1, maxImportL1=3_680)["maxImportTotal"] == 3_680


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "maxImportTotal"),
        ({"maxImportL1": 3_000}, "maxImportTotal"),
        ({"maxImportTotal": -1}, "maxImportTotal"),
        ({"maxImportTotal": 1.5}, "maxImportTotal"),
        ({"maxImportTotal": "11000"}, "maxImportTotal"),
        ({"maxImportTotal": None}, "maxImportTotal"),
        ({"maxImportTotal": 10**30}, "maxImportTotal"),
        ({"maxImportTotal": 9_000, "numberOfPhases": 2}, "numberOfPhases"),
        ({"maxImportTotal": 9_000, "maxImportL1": 1_000}, "maxImportL1"),
        ({"maxImportTotal": 9_000, "importEVMarginTotal": 500}, "importEVMarginTotal"),
        ({"maxImportTotal": 9_000, "importEVMarginPhase": 500}, "importEVMarginPhase"),
        ({"maxImportTotal": 9_000, "maxImportEVMarginL2": 500}, "maxImportEVMarginL2"),
        ({"maxImportTotal": 9_000, "maxImportEVWorstCase": 4_000}, "maxImportEVWorstCase"),
        ({"maxImportTotal": 9_000, "maxImportEVWorstCaseL3": 0}, "maxImportEVWorstCaseL3"),
    ],
)
def test_what_would_not_be_kept_to_is_422(cast, path, fields, named):
    details = refused(as_(cast.fleet).put(f"/api/{path}", fields))
    assert details[0].startswith(f"{named}: ")
    assert not Constraint.objects.exists()


@pytest.mark.parametrize("person", ["viewer", "installer", "grid_operator"])
def test_who_may_only_look_sets_no_limit(cast, path, put, person):
    put(by=getattr(cast, person), status=403, maxImportTotal=1)
    assert as_(getattr(cast, person)).delete(f"/api/{path}").status_code == 403
    assert as_(getattr(cast, person)).get(f"/api/{path}").status_code == 404


def test_a_gateway_is_looked_for_in_its_own_system(cast, now):
    for system, gateway in (
        (cast.hafenstrasse, cast.gateway),
        (cast.lindenweg, cast.other_gateway),
    ):
        path = f"/api/systems/{system.pk}/gateways/{gateway.pk}/import-power-limit"
        assert as_(cast.staff).put(path, {"maxImportTotal": 1}).status_code == 404
    path = f"/api/systems/{cast.lindenweg.pk}/gateways/{uuid4()}/import-power-limit"
    assert as_(cast.staff).put(path, {"maxImportTotal": 1}).status_code == 404


def test_without_a_meter_at_the_grid_there_is_nothing_to_limit(cast, path, put, now):
    Appliance.objects.filter(pk=cast.grid_meter.pk).update(removed_at=now)
    assert "grid connection" in put(status=404, maxImportTotal=1)["message"]
