import csv
from datetime import timedelta
from io import StringIO

import pytest
from rest_framework.test import APIClient

from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster, Gateway, System


@pytest.fixture
def fleet(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.fleet)
    return client


def read(client: APIClient, path: str):
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_system_comes_with_its_gateway(cast, fleet):
    Gateway.objects.update(manufacturer="gridX", model="2.00P-X")
    (body,) = read(fleet, "/api/systems")
    assert body == read(fleet, f"/api/systems/{cast.lindenweg.pk}")
    assert body["name"] == "Lindenweg 12"
    assert body["accountID"] == str(cast.meyers.pk)
    assert body["timeZone"] == "Europe/Berlin"
    assert body["gatewayID"] == str(cast.gateway.pk)
    assert body["gateways"] == [
        {
            "id": str(cast.gateway.pk),
            "manufacturer": "gridX",
            "model": "2.00P-X",
            "serialnumber": "GX-0001",
        }
    ]
    assert not {"location", "parentID", "accounts", "users"} & set(body)


def test_a_system_without_a_gateway_has_none(cast, fleet):
    System.objects.create(account=cast.north, name="New")
    bodies = read(fleet, "/api/systems")
    assert bodies[1]["gateways"] == []
    assert "gatewayID" not in bodies[1]


def test_include_adds_what_it_names(cast, fleet):
    names = "location", "parentID", "accounts", "status", "visibleAppliances"
    query = "&".join(f"include={name}" for name in names)
    body = read(fleet, f"/api/systems/{cast.lindenweg.pk}?{query}")
    assert body["location"] == {
        "city": "Aachen",
        "latitude": 50.78,
        "longitude": 6.08,
        "timeZone": "Europe/Berlin",
    }
    assert body["parentID"] == str(cast.meyers.pk)
    assert body["accounts"][0]["name"] == "Family Meyer"
    assert body["status"] == "UNAVAILABLE"
    assert body["visibleAppliances"] == ["EVSTATION", "INVERTER", "METER"]
    query = "include=gateways.connectionStatus&include=gateways.applianceComposition"
    (gateway,) = read(fleet, f"/api/systems/{cast.lindenweg.pk}?{query}")["gateways"]
    assert gateway["connectionStatus"] == {"status": "UNAVAILABLE"}
    assert gateway["applianceComposition"] == ["EVSTATION", "INVERTER", "METER"]


def test_embed_adds_the_users(cast, fleet):
    (body,) = read(fleet, "/api/systems?embed=user")
    assert [user["email"] for user in body["users"]] == ["mara@meyer.example"]


@pytest.mark.parametrize(
    ("query", "field"), [("include=secrets", "include"), ("embed=account", "embed")]
)
def test_an_unknown_include_is_422(cast, fleet, query, field):
    answer = fleet.get(f"/api/systems?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith(f"{field}: ")


def test_an_accounts_systems_are_those_of_its_subtree(cast, fleet):
    for account in (cast.north, cast.meyers):
        bodies = read(fleet, f"/api/accounts/{account.pk}/systems")
        assert [body["id"] for body in bodies] == [str(cast.lindenweg.pk)]


def test_a_gateway_names_its_system(cast, fleet):
    (body,) = read(fleet, "/api/gateways")
    assert body == read(fleet, f"/api/gateways/{cast.gateway.pk}")
    assert body["system"] == {"id": str(cast.lindenweg.pk)}
    assert body["type"] == "PHYSICAL"
    assert body["serialnumber"] == "GX-0001"
    assert "secretDigest" not in body


@pytest.mark.parametrize(
    ("silent", "status"),
    [
        (timedelta(seconds=30), "AVAILABLE"),
        (timedelta(minutes=10), "TEMPORARILY_UNAVAILABLE"),
        (timedelta(days=2), "UNAVAILABLE"),
    ],
)
def test_a_gateway_is_available_while_it_is_heard_of(cast, fleet, silent, status):
    Gateway.objects.update(contacted_at=clock.now() - silent)
    body = read(fleet, f"/api/gateways/{cast.gateway.pk}")
    assert body["connectionStatus"]["status"] == status
    assert body["connectionStatus"]["contactedAt"]


def test_a_revoked_gateway_is_unavailable(cast, fleet):
    Gateway.objects.update(contacted_at=clock.now(), revoked_at=clock.now())
    body = read(fleet, f"/api/gateways/{cast.gateway.pk}")
    assert body["connectionStatus"]["status"] == "UNAVAILABLE"


def test_appliances_are_of_the_wires_types(cast, fleet):
    Gateway.objects.update(contacted_at=clock.now())
    bodies = {b["name"]: b for b in read(fleet, f"/api/gateways/{cast.gateway.pk}/appliances")}
    meter, roof, battery, car = (bodies[name] for name in ("Grid meter", "Roof", "Battery", "Car"))
    assert (meter["type"], meter["kind"]) == ("METER", "GRID")
    assert meter["auxMeter"] == {"location": "GRID"}
    assert (roof["type"], roof["kind"]) == ("INVERTER", "PV")
    assert roof["nominalPowerLimit"] == roof["inverter"]["maxActivePowerOutput"] == 9_800_000
    assert (battery["type"], battery["kind"]) == ("INVERTER", "BATTERY")
    assert battery["battery"] == {"maxCharge": 5000, "maxDischarge": 5000}
    assert battery["capacity"] == 10_000
    assert (car["type"], car.get("kind")) == ("EVSTATION", None)
    assert (car["minPower"], car["maxPower"]) == (0, 11_000)
    for body in bodies.values():
        assert body["connectionStatus"]["status"] == "AVAILABLE"
        assert body["state"] == {"current": "CONNECTED", "desired": "CONNECTED", "transitions": []}
        assert body == read(fleet, f"/api/gateways/{cast.gateway.pk}/appliances/{body['id']}")


def test_parts_of_a_hybrid_are_listed_when_all_are_asked_for(cast, fleet):
    hybrid = Appliance.objects.create(
        system=cast.lindenweg,
        gateway=cast.gateway,
        kind=ApplianceKind.HYBRID_INVERTER,
        name="Hybrid",
    )
    Appliance.objects.filter(pk=cast.battery.pk).update(parent=hybrid)
    url = f"/api/gateways/{cast.gateway.pk}/appliances"
    listed = {body["name"] for body in read(fleet, url)}
    assert listed == {"Grid meter", "Roof", "Car", "Hybrid"}
    every = {body["name"]: body for body in read(fleet, f"{url}?listAll=true")}
    assert every["Battery"]["parent"] == str(hybrid.pk)
    assert fleet.get(f"{url}?listAll=perhaps").status_code == 422


def test_removed_appliances_are_not_listed_but_found(cast, fleet):
    Appliance.objects.filter(pk=cast.evcs.pk).update(removed_at=clock.now())
    url = f"/api/gateways/{cast.gateway.pk}/appliances"
    assert "Car" not in {body["name"] for body in read(fleet, url)}
    assert read(fleet, f"{url}/{cast.evcs.pk}")["inactive"] is True


def test_an_appliance_is_not_found_at_another_gateway(cast):
    client = APIClient()
    client.force_authenticate(cast.staff)
    url = f"/api/gateways/{cast.gateway.pk}/appliances/{cast.other_meter.pk}"
    assert client.get(url).status_code == 404


def test_lists_take_as_many_queries_however_long_they_are(cast, fleet, django_assert_num_queries):
    for number in range(5):
        system = System.objects.create(account=cast.meyers, name=f"System {number}")
        gateway = Gateway.objects.create(system=system, serial=f"GX-1{number}")
        Appliance.objects.create(
            system=system, gateway=gateway, kind=ApplianceKind.METER, name="Meter"
        )
    with django_assert_num_queries(2):
        read(fleet, "/api/systems")
    with django_assert_num_queries(4):  # besides: users and appliances
        read(fleet, "/api/systems?embed=user&include=visibleAppliances&include=accounts")
    with django_assert_num_queries(2):
        read(fleet, "/api/gateways")
    with django_assert_num_queries(3):
        read(fleet, f"/api/gateways/{cast.gateway.pk}/appliances")
    with django_assert_num_queries(9):  # the account; five kinds counted, and the three on the page
        read(fleet, f"/api/accounts/{cast.north.pk}/inventory")


@pytest.fixture
def cluster(cast) -> Cluster:
    return Cluster.objects.create(system=cast.lindenweg, name="Garage")


def test_an_inventory_holds_everything_of_the_subtree(cast, fleet, cluster):
    items = read(fleet, f"/api/accounts/{cast.north.pk}/inventory?per_page=100")
    kinds = [item["kind"] for item in items]
    assert kinds == ["SYSTEM", "GATEWAY", *["APPLIANCE"] * 4, "CLUSTER", "SYSTEM_POOL"]
    by_kind = {item["kind"]: item for item in items}
    assert by_kind["SYSTEM"]["system"]["location"]["city"] == "Aachen"
    assert by_kind["GATEWAY"]["gateway"]["serialnumber"] == "GX-0001"
    assert by_kind["CLUSTER"]["cluster"]["systemID"] == str(cast.lindenweg.pk)
    assert by_kind["SYSTEM_POOL"]["systemPool"]["kind"] == "COMMUNITY"
    assert by_kind["SYSTEM_POOL"]["accountID"] == str(cast.north.pk)
    for item in items[:-1]:
        assert item["accountID"] == str(cast.meyers.pk)
        assert item["systemID"] == str(cast.lindenweg.pk)


def test_pages_of_an_inventory_cut_through_its_kinds(cast, fleet, cluster):
    url = f"/api/accounts/{cast.north.pk}/inventory"
    whole = read(fleet, f"{url}?per_page=100")
    pages = [read(fleet, f"{url}?per_page=3&page={page}") for page in (1, 2, 3, 4)]
    assert [item["id"] for page in pages for item in page] == [item["id"] for item in whole]
    assert fleet.get(url)["X-Total-Count"] == "8"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("kind=SYSTEM", ["Lindenweg 12"]),
        ("kind=BATTERY", ["Battery"]),
        ("kind=EV_CHARGING_STATION", ["Car"]),
        ("kind=APPLIANCE&q=roof", ["Roof"]),
        ("q=garage", ["Garage"]),
        ("q=gx-0001", ["Lindenweg 12", "GX-0001"]),
        ("q=nothing", []),
        ("kind=&q=sun+sharers", ["Sun sharers"]),
    ],
)
def test_an_inventory_is_filtered_and_searched(cast, fleet, cluster, query, names):
    items = read(fleet, f"/api/accounts/{cast.north.pk}/inventory?{query}")
    assert [item["name"] for item in items] == names


@pytest.mark.parametrize(("query", "field"), [("kind=house", "kind"), ("q=%00", "q")])
def test_a_bad_filter_is_422(cast, fleet, query, field):
    answer = fleet.get(f"/api/accounts/{cast.north.pk}/inventory?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith(f"{field}: ")


def rows_of(answer) -> list[dict]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(answer.getvalue().decode())))


def test_all_of_an_inventory_streams_as_csv(cast, fleet, cluster):
    Appliance.objects.filter(pk=cast.evcs.pk).update(name='Two\nlines, "quoted"')
    headers = {"accept": "text/csv"}
    answer = fleet.get(f"/api/accounts/{cast.north.pk}/inventory?per_page=1", headers=headers)
    assert answer.streaming
    rows = rows_of(answer)
    assert len(rows) == 8
    assert {row["inventory_kind"] for row in rows} == {
        "SYSTEM", "GATEWAY", "APPLIANCE", "CLUSTER", "SYSTEM_POOL"
    }  # fmt: skip
    assert 'Two\nlines, "quoted"' in {row["name"] for row in rows}


def test_one_kind_of_an_inventory_streams_with_its_own_columns(cast, fleet):
    headers = {"accept": "text/csv"}
    answer = fleet.get(f"/api/accounts/{cast.north.pk}/inventory?kind=BATTERY", headers=headers)
    (row,) = rows_of(answer)
    assert (row["name"], row["capacity_wh"]) == ("Battery", "10000.0")


def test_a_csv_of_what_is_out_of_sight_is_404(cast, fleet):
    headers = {"accept": "text/csv"}
    answer = fleet.get(f"/api/accounts/{cast.south.pk}/inventory", headers=headers)
    assert answer.status_code == 404
