"""What holds for every address of the API."""

import re
from io import StringIO
from uuid import uuid4

import orjson
import pytest
from django.core.management import call_command
from django.test import RequestFactory
from django.urls import reverse
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from gridx import api
from tests.cast import Cast

INTERVAL = "2026-06-15T00:00:00Z/2026-06-15T06:00:00Z"
OPEN = {"api_token", "api_schema", "api_docs", "api_not_found"}

# Addresses of one thing, with whose it is: a name of the cast for each part of the address.
OF_ONE = {
    "api_account": {"account_id": "meyers"},
    "api_sub_accounts": {"account_id": "meyers"},
    "api_account_parents": {"account_id": "meyers"},
    "api_account_systems": {"account_id": "meyers"},
    "api_account_inventory": {"account_id": "meyers"},
    "api_customer": {"account_id": "meyers"},
    "api_customer_users": {"account_id": "meyers"},
    "api_system": {"system_id": "lindenweg"},
    "api_system_live": {"system_id": "lindenweg"},
    "api_system_historical": {"system_id": "lindenweg"},
    "api_system_export": {"system_id": "lindenweg"},
    "api_appliance_export": {"appliance_id": "battery"},
    "api_gateway": {"gateway_id": "gateway"},
    "api_appliances": {"gateway_id": "gateway"},
    "api_appliance": {"gateway_id": "gateway", "appliance_id": "battery"},
    "api_appliance_measurements": {"gateway_id": "gateway", "appliance_id": "battery"},
    "api_combined_measurements": {"gateway_id": "gateway", "appliance_id": "battery"},
    "api_energy_management": {"gateway_id": "gateway", "appliance_id": "battery"},
    "api_system_flexibilities": {"system_id": "lindenweg"},
    "api_system_flexibility": {"system_id": "lindenweg"},
    "api_system_clusters": {"system_id": "lindenweg"},
    "api_system_dimmings": {"system_id": "lindenweg"},
    "api_charging_schedules": {"system_id": "lindenweg"},
    "api_power_limit_schedules": {"system_id": "lindenweg"},
    "api_flexibility": {"appliance_id": "battery"},
    "api_timeline": {"appliance_id": "battery"},
    "api_appliance_constraints": {"appliance_id": "battery"},
}
OF_INTERVAL = {
    "api_system_historical",
    "api_system_export",
    "api_appliance_export",
    "api_appliance_measurements",
    "api_combined_measurements",
    "api_energy_management",
}
# Lists and the caller's own.
OF_CALLER = {
    "api_user",
    "api_own_account",
    "api_accounts",
    "api_customers",
    "api_systems",
    "api_gateways",
    "api_clusters",
    "api_pools",
}
# What is made first: `tests/flexibility` and the matrix say who gets it.
OF_THINGS = {
    "api_constraint",
    "api_import_power_limit",
    "api_appliance_policy",
    "api_cluster_policy",
    "api_system_policy",
    "api_ev_configuration",
    "api_charging_schedule",
    "api_power_limit_schedule",
    "api_dimming",
    "api_cluster",
    "api_cluster_limit",
    "api_cluster_member",
    "api_cluster_live",
    "api_cluster_historical",
    "api_cluster_export",
    "api_cluster_flexibilities",
    "api_cluster_flexibility",
    "api_cluster_constraints",
    "api_pool",
    "api_pool_systems",
    "api_pool_live",
    "api_pool_historical",
    "api_pool_export",
    "api_pool_flexibility",
    "api_pool_constraints",
}
WRITES = {
    ("api_appliance_constraints", "post"),
    ("api_system_dimmings", "post"),
    ("api_charging_schedules", "post"),
    ("api_power_limit_schedules", "post"),
    ("api_clusters", "post"),
    ("api_pools", "post"),
}


def address(name: str, cast: Cast | None = None) -> str:
    parts = OF_ONE.get(name, {})
    values = {key: getattr(cast, whose).pk if cast else uuid4() for key, whose in parts.items()}
    query = f"?interval={INTERVAL}" if name in OF_INTERVAL else ""
    return reverse(name, kwargs=values) + query


def as_(user) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def test_every_address_is_in_these_tests():
    assert {pattern.name for pattern in api.urlpatterns} == (
        set(OF_ONE) | OF_CALLER | OF_THINGS | OPEN
    )


@pytest.mark.parametrize("name", sorted(OF_ONE))
@pytest.mark.parametrize("who", ["admin", "fleet", "installer", "viewer", "mara", "staff"])
def test_who_is_above_a_thing_sees_it(cast, name, who):
    assert as_(getattr(cast, who)).get(address(name, cast)).status_code == 200


@pytest.mark.parametrize("name", sorted(OF_ONE))
@pytest.mark.parametrize("who", ["schmidt", "south_admin"])
def test_siblings_and_strangers_do_not_know_that_it_exists(cast, name, who):
    answer = as_(getattr(cast, who)).get(address(name, cast))
    unknown = as_(getattr(cast, who)).get(address(name))
    assert answer.status_code == unknown.status_code == 404
    assert answer.json() == unknown.json()
    assert answer.json()["message"]


@pytest.mark.parametrize("name", sorted({*OF_ONE, *OF_CALLER}))
def test_the_anonymous_get_403_with_a_message(cast, name):
    answer = APIClient().get(address(name, cast))
    assert answer.status_code == 403
    assert answer.json()["message"]
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", sorted({*OF_ONE, *OF_CALLER}))
def test_whose_account_was_closed_meanwhile_is_anonymous(cast, name):
    browser = APIClient()
    browser.force_login(cast.mara)
    cast.mara.is_active = False
    cast.mara.save()
    assert browser.get(address(name, cast)).status_code == 403


@pytest.mark.parametrize("name", ["api_systems", "api_gateways", "api_customers", "api_accounts"])
def test_lists_end_where_the_sight_ends(cast, name):
    body = as_(cast.mara).get(address(name)).content
    for hidden in (cast.schmidts, cast.hafenstrasse, cast.other_gateway, cast.operator):
        assert str(hidden.pk).encode() not in body


def test_a_grid_operator_sees_the_systems_assigned_and_no_accounts(cast):
    client = as_(cast.grid_operator)
    assert [row["id"] for row in client.get("/api/systems").json()] == [str(cast.lindenweg.pk)]
    assert client.get(address("api_system_live", cast)).status_code == 200
    assert client.get(f"/api/systems/{cast.hafenstrasse.pk}").status_code == 404
    assert client.get("/api/accounts").json() == []


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/systems/",
        "/api/systems/abc",
        "/api/systems/abc/live",
        "/api/systems/00000000-0000-0000-0000-00000000000g",
        "/api/user/",
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_no_address_is_404_in_json_and_never_redirects(cast, path, method):
    client = APIClient(enforce_csrf_checks=True)
    answer = getattr(client, method)(path)
    assert answer.status_code == 404
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name in sorted({*OF_ONE, *OF_CALLER})
        for method in ("post", "put", "patch", "delete")
        if (name, method) not in WRITES
    ],
)
def test_what_only_reads_refuses_to_write(cast, name, method):
    answer = getattr(as_(cast.staff), method)(address(name, cast))
    assert answer.status_code == 405
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "systems",
        "systempools/{pool}/systems",
        "systems/{system}/gateways/{gateway}/import-power-limit",
    ],
)
def test_what_an_address_takes_is_told_by_the_schema_alone(cast, path):
    values = {"pool": cast.pool.pk, "system": cast.lindenweg.pk, "gateway": cast.gateway.pk}
    answer = as_(cast.staff).options(f"/api/{path.format(**values)}")
    assert answer.status_code == 405
    assert answer.json()["message"]


def test_a_refusal_repeats_what_no_answer_can_hold_in_part(cast):
    sent = r'{"name": "x", "kind": "\ud800", "timeZone": "\ud800"}'
    answer = as_(cast.admin).post("/api/systempools", sent, content_type="application/json")
    assert answer.status_code == 422
    assert {detail.split(":")[0] for detail in answer.json()["details"]} == {"kind", "timeZone"}


@pytest.mark.parametrize("name", ["api_systems", "api_gateways", "api_accounts", "api_customers"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page=1.5", "page"),
        ("page=²", "page"),
        ("per_page=0", "per_page"),
        ("per_page=1001", "per_page"),
    ],
)
def test_what_is_no_page_is_422_naming_the_field(cast, name, query, field):
    answer = as_(cast.staff).get(f"{reverse(name)}?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith(f"{field}: ")


def test_pages_follow_each_other_by_link_until_an_empty_one(cast):
    client = as_(cast.staff)
    seen, url = [], "/api/accounts?per_page=2"
    while url:
        answer = client.get(url)
        assert answer["X-Total-Count"] == "5"
        seen += [row["id"] for row in answer.json()]
        following = re.search(r'<([^>]*)>; rel="next"', answer["Link"])
        url = following and following[1]
    assert len(set(seen)) == len(seen) == 5
    assert client.get("/api/accounts?page=4&per_page=2").json() == []
    assert client.get(f"/api/accounts?page={10**17}").json() == []


def test_links_keep_the_rest_of_the_query(cast):
    answer = as_(cast.staff).get("/api/systems?include=location&include=accounts&per_page=1")
    assert "include=location&include=accounts&page=2&per_page=1" in answer["Link"]


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/vnd.gridx.v2+json", "text/html,*/*;q=0.8", "", "x"],
)
def test_the_answer_is_json_whatever_is_asked_for(cast, accept):
    answer = as_(cast.mara).get("/api/systems", headers={"accept": accept})
    assert answer["Content-Type"] == "application/json"
    assert orjson.loads(answer.content)


def test_a_get_may_say_that_it_sends_json(cast):
    answer = as_(cast.mara).get("/api/systems", headers={"content-type": "application/json"})
    assert answer.status_code == 200


class Echo(APIView):
    """Answers what it was sent."""

    authentication_classes = permission_classes = ()
    parser_classes = (JSONParser, FormParser)

    def post(self, request) -> Response:
        return Response(request.data)


def echo(body: str, content_type: str = "application/json") -> Response:
    return Echo.as_view()(RequestFactory().post("/api/echo", body, content_type=content_type))


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("[" * 3_000, "application/json", 400),
        ('{"a":' * 100_000, "application/json", 400),
        ("9" * 5_000, "application/json", 400),
        ("NaN", "application/json", 400),
        ("&".join(f"a{number}=1" for number in range(1_001)), FORM, 400),
        (f'"{"x" * 2_700_000}"', "application/json", 413),
        ("a=" + "x" * 2_700_000, FORM, 413),
    ],
    ids=range(7),
)
def test_what_cannot_be_read_is_said_by_every_address_in_json(body, content_type, status):
    answer = echo(body, content_type)
    assert (answer.status_code, list(answer.data)) == (status, ["message"])


def test_what_is_long_and_deep_within_reason_is_read():
    assert echo('["' + "x" * 2_000_000 + '"]').status_code == 200
    assert echo("[" * 100 + "]" * 100).status_code == 200


@pytest.mark.parametrize("path", ["/api/systems", "/api/oauth/token"])
def test_what_is_refused_before_any_view_sees_it_is_400_in_json(path):
    answer = APIClient().get(path, headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_a_page_that_is_refused_before_any_view_sees_it_stays_a_page(client):
    answer = client.get("/sign-in", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/html")


def test_what_breaks_is_500_in_json(cast, monkeypatch):
    def broken(**kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr("measurements.api.live_of_system", broken)
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(cast.mara)
    answer = client.get(address("api_system_live", cast))
    assert answer.status_code == 500
    assert "broken" not in answer.json()["message"]


def test_the_schema_is_complete_and_valid():
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    described = set(re.findall(r"^  (/\S*):$", out.getvalue(), re.M))
    served = {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in api.urlpatterns
        if pattern.name not in {"api_schema", "api_docs", "api_not_found"}
    }
    assert described == served


def test_the_schema_and_its_page_are_open(db):
    client = APIClient()
    schema = client.get("/api/schema")
    assert schema.status_code == 200
    assert b"openapi: 3.1.0" in schema.content
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert b"//cdn" not in page.content
    assert b"<script>" not in page.content
