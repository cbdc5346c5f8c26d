"""Dimmings on the wire: by a grid operator's token alone, proved to everybody in sight."""

import csv
from datetime import timedelta
from types import SimpleNamespace

import pytest
from rest_framework.test import APIClient

from flexibility.emitters import DIMMING
from flexibility.models import Dimming
from inventory.models import SystemAssignment
from tests.flexibility.asking import as_, read, refused, wire

pytestmark = pytest.mark.usefixtures("stopped_clock")
HOUR = timedelta(hours=1)


@pytest.fixture
def operator(driven) -> APIClient:
    """The grid operator's client, with a token that may dim."""
    client = APIClient()
    client.force_authenticate(driven.grid_operator, SimpleNamespace(scope=f"openid {DIMMING}"))
    return client


@pytest.fixture
def path(driven) -> str:
    return f"/api/systems/{driven.lindenweg.pk}/dimmings"


@pytest.fixture
def dimmed(operator, path, now) -> dict:
    answer = operator.post(path, {"invalidAt": wire(now + HOUR)})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_signal_dims_and_says_when(dimmed, driven, now):
    assert dimmed == {
        "id": dimmed["id"],
        "systemID": str(driven.lindenweg.pk),
        "mode": "direct",
        "validAt": wire(now),
        "invalidAt": wire(now + HOUR),
        "endedAt": wire(now + HOUR),
        "createdAt": wire(now),
    }
    found = read(as_(driven.mara), f"appliances/{driven.evcs.pk}/flexibility")
    assert found["maxPower"] == 4_200
    [dimming] = [one for one in found["constraints"] if one["emitter"]["kind"] == "gridOperator"]
    assert dimming["outcome"] == {"power": "binding"}


def test_everybody_in_sight_reads_the_proof(dimmed, driven):
    for person in (driven.mara, driven.fleet, driven.viewer, driven.grid_operator):
        found = read(as_(person), f"dimmings/{dimmed['id']}")
        assert found["proof"] == []  # nothing of it is over yet
        [listed] = read(as_(person), f"systems/{driven.lindenweg.pk}/dimmings")
        assert listed == dimmed


def test_the_proof_is_a_file_too(dimmed, driven, now, monkeypatch):
    monkeypatch.setattr("gridx.clock.now", lambda: now + HOUR)
    address = f"/api/dimmings/{dimmed['id']}"
    answer = as_(driven.mara).get(address, headers={"accept": "text/csv"})
    lines = b"".join(answer.streaming_content).decode().splitlines()
    rows = list(csv.DictReader(lines))
    told = [(row["appliance"], row["limit_w"], row["reaction_s"], row["verdict"]) for row in rows]
    assert told == [
        ("Battery", "4200.0", "", "not_measured"),
        ("Car", "4200.0", "", "not_measured"),
    ]
    proof = read(as_(driven.mara), f"dimmings/{dimmed['id']}")["proof"]
    assert [one["verdict"] for one in proof] == ["not_measured", "not_measured"]
    assert {row["ended_at"] for row in rows} == {(now + HOUR).isoformat()}


def test_a_token_without_the_scope_dims_nothing(driven, path, now):
    for person in (driven.grid_operator, driven.staff, driven.fleet, driven.mara):
        answer = as_(person).post(path, {"invalidAt": wire(now + HOUR)})
        assert answer.status_code == 403
    assert not Dimming.objects.exists()


def test_only_the_operator_ends_it(dimmed, driven, operator):
    address = f"/api/dimmings/{dimmed['id']}"
    assert as_(driven.fleet).delete(address).status_code == 403
    assert operator.delete(address).status_code == 204
    assert read(as_(driven.mara), f"appliances/{driven.evcs.pk}/flexibility")["maxPower"] == 22_000
    assert as_(driven.schmidt).get(address).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "invalidAt"),
        ({"invalidAt": "soon"}, "invalidAt"),
        ({"invalidAt": "2026-06-15T11:00:00"}, "invalidAt"),
        ({"invalidAt": "2026-06-15T09:00:00Z"}, "invalidAt"),
        ({"invalidAt": "2036-06-15T09:00:00Z"}, "invalidAt"),
        ({"invalidAt": "2026-06-15T11:00:00Z", "validAt": 7}, "validAt"),
        ([], ""),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_named(operator, path, body, field):
    [detail] = refused(operator.post(path, body))
    assert detail.startswith(field)


def test_where_nothing_can_be_dimmed_it_is_said(operator, driven, now):
    SystemAssignment.objects.create(user=driven.grid_operator, system=driven.hafenstrasse)
    address = f"/api/systems/{driven.hafenstrasse.pk}/dimmings"
    [detail] = refused(operator.post(address, {"invalidAt": wire(now + HOUR)}))
    assert "nothing here" in detail
