"""`manage.py explain`: cases worked out by hand, from a file or standard input."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import SHARED

LIMIT = {
    "id": "limit",
    "emitter": "account user",
    "priority": 3000,
    "createdAt": "2026-06-01T11:00:00Z",
    "invalidAt": "2026-06-01T16:00:00Z",
    "maxPower": 11000,
}
CASE = {"name": "a limit alone", "at": "2026-06-01T12:00:00Z", "constraints": [LIMIT]}


def explain(case, *options: str, monkeypatch) -> list:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(case)))
    out = io.StringIO()
    call_command("explain", "--case", "-", *options, stdout=out)
    return json.loads(out.getvalue())


def shared_cases() -> list:
    file = SHARED / "design" / "cases" / "resolver.json"
    return json.loads(file.read_text()) if file.exists() else []


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case["name"]) for case in shared_cases()]
    or [pytest.param(None, marks=pytest.mark.skip("the cases are not beside this checkout"))],
)
def test_cases_worked_out_by_hand_come_out(case, monkeypatch):
    [found] = explain(case, monkeypatch=monkeypatch)
    assert found == {"name": case["name"], **case["expect"]}


def test_a_timeline_is_the_list_of_its_segments(monkeypatch):
    case = {
        "from": "2026-06-01T12:00:00Z",
        "until": "2026-06-01T18:00:00+02:00",
        "constraints": [LIMIT | {"invalidAt": "2026-06-01T13:00:00Z"}],
    }
    found = explain(case, "--timeline", monkeypatch=monkeypatch)
    assert [(one["from"], one["until"], one["power"]["max"]) for one in found] == [
        ("2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z", 11000),
        ("2026-06-01T13:00:00Z", "2026-06-01T18:00:00+02:00", None),
    ]
    assert [one["outcomes"]["limit"]["power"]["outcome"] for one in found] == ["binding", "expired"]


def test_a_file_may_hold_one_case_or_many(tmp_path):
    file = tmp_path / "cases.json"
    for content, count in ((CASE, 1), ([CASE, CASE], 2)):
        file.write_text(json.dumps(content))
        out = io.StringIO()
        call_command("explain", "--case", str(file), stdout=out)
        assert len(json.loads(out.getvalue())) == count


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"at": None}, "at: an ISO 8601 instant"),
        ({"at": "2026-06-01T12:00:00"}, "no offset"),
        ({"constraints": None}, "constraints: a list"),
        ({"constraints": [LIMIT, LIMIT]}, "an id stands twice"),
        ({"constraints": [7]}, r"constraints\[0\]: an object"),
        ({"constraints": [LIMIT | {"maxPower": "11000"}]}, "maxPower: a number"),
        ({"constraints": [LIMIT | {"minPower": 12000}]}, "min_w: is above max_w"),
        ({"constraints": [LIMIT | {"priority": 1.5}]}, "priority: an integer"),
        ({"constraints": [LIMIT | {"emitter": "weather"}]}, "emitter: one of driver"),
        ({"constraints": [LIMIT | {"maxPwer": 1}]}, "maxPwer: unknown"),
        ({"constraints": [LIMIT | {"closest": 1}]}, "closest: true or false"),
        ({"constraints": [LIMIT | {"createdAt": "soon"}]}, "createdAt: an ISO 8601"),
    ],
)
def test_what_is_no_case_is_refused_with_the_field_named(change, says, monkeypatch):
    with pytest.raises(CommandError, match=says):
        explain(CASE | change, monkeypatch=monkeypatch)


def test_a_timeline_is_of_one_case(monkeypatch):
    with pytest.raises(CommandError, match="one case"):
        explain([CASE, CASE], "--timeline", monkeypatch=monkeypatch)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"missing\.json"):
        call_command("explain", "--case", str(tmp_path / "missing.json"))
