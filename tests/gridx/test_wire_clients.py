"""The clients that people have, unpatched but for the address, against a server of ours.

`gridx-connector` is asynchronous, synchronous and a command; its package `gridx_connector_api`
raises where a required field is missing or a UUID, date or enumeration is wrong.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from types import ModuleType
from urllib.parse import quote
from uuid import UUID

import gridx_connector.async_connector
import gridx_connector.cli
import gridx_connector.sync_connector
import numpy as np
import orjson
import pytest
from django.core.cache import cache
from django.core.servers.basehttp import ServerHandler, WSGIRequestHandler
from gridx_connector import AsyncGridboxConnector, GridboxConnector, GridXAuthenticationError
from gridx_connector_api import AuthenticatedClient
from gridx_connector_api.models.heater import Heater
from gridx_connector_api.models.meter import Meter
from viessmann_gridbox_connector import GridboxConnector as ViessmannConnector

from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.history import past_of_system
from measurements.ingest import store_readings
from measurements.queries import live_of_system
from measurements.resolutions import Resolution, slot_start
from measurements.slots.compute import compute_until_clean
from measurements.wire.history import LISTED, history_to_wire
from measurements.wire.live import live_to_wire
from tests.cast import PASSWORD, Cast

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

HOURS = 3
# W into the appliance, and what its counters gain in an hour (Wh)
READ = {
    "grid_meter": {"power_w": -59.0, "imported_wh": 0.0, "exported_wh": 59.0},
    "pv": {"power_w": -1512.0, "exported_wh": 1512.0},
    "battery": {"power_w": 853.0, "imported_wh": 853.0, "exported_wh": 0.0},
    "evcs": {"power_w": 250.0, "imported_wh": 250.0},
}


@dataclass
class Site:
    """Lindenweg 12 with three hours of readings, and the server that tells of it."""

    cast: Cast
    now: datetime
    server: str

    @property
    def system_id(self) -> str:
        return str(self.cast.lindenweg.pk)

    @property
    def interval(self) -> tuple[datetime, datetime]:
        until = slot_start(self.now) + timedelta(hours=2)  # so that the last hour is all future
        return until - timedelta(hours=6), until

    def config(self, **urls: str) -> dict:
        return {
            "urls": {"login": f"{self.server}/api/oauth/token", **urls},
            "login": {
                "grant_type": "http://auth0.com/oauth/grant-type/password-realm",
                "username": "mara@meyer.example",
                "password": PASSWORD,
                "audience": "https://api.gridx.de",
                "client_id": "mG0Phmo7DmnvAqO7p6B0WOYBODppY3cc",
                "scope": "email openid offline_access",
                "realm": "eon-home-authentication-db",
                "client_secret": "",
            },
        }

    def live(self) -> dict:
        """What `/live` must say, from the figures themselves."""
        return _as_json(live_to_wire(live_of_system(system=self.cast.lindenweg, now=clock.now())))

    def history(self, resolution: str) -> dict:
        past = past_of_system(
            system=self.cast.lindenweg,
            from_at=self.interval[0],
            until_at=self.interval[1],
            resolution=Resolution(resolution),
            kinds=LISTED,
        )
        return _as_json(history_to_wire(past, Resolution(resolution)))


def _as_json(wire: dict) -> dict:
    return orjson.loads(orjson.dumps(wire, option=orjson.OPT_UTC_Z))


@pytest.fixture
def site(live_server, cast, monkeypatch) -> Site:
    cache.clear()
    now = clock.now()
    minutes = np.arange(HOURS * 60, -1, -1)
    for name, read in READ.items():
        appliance = getattr(cast, name)
        values = {
            quantity: np.full(len(minutes), value)
            if quantity == "power_w"
            else 1e6 + value * (HOURS * 60 - minutes) / 60
            for quantity, value in read.items()
        }
        if name == "battery":
            values["soc"] = np.linspace(0.4, 0.65, len(minutes))
        batch = Batch.of(
            system_key=cast.lindenweg.key,
            appliance_key=appliance.key,
            at_ms=int(now.timestamp() * 1000) - minutes * 60_000,
            **values,
        )
        store_readings(batch=batch, now=now)
    compute_until_clean(now=now)
    # Some clients never close their connections; a thread of the server would wait at each of
    # them, and keep a connection to the database.
    monkeypatch.setattr(WSGIRequestHandler, "protocol_version", "HTTP/1.0")
    monkeypatch.setattr(ServerHandler, "http_version", "1.0")
    # The address is a constant of these modules.
    monkeypatch.setattr(gridx_connector.async_connector, "API_BASE_URL", f"{live_server.url}/api")
    monkeypatch.setattr(gridx_connector.sync_connector, "_API_BASE_URL", f"{live_server.url}/api")
    return Site(cast, now, live_server.url)


@pytest.fixture
def synchronous(site) -> GridboxConnector:
    return GridboxConnector(site.config())


def check_history(site: Site, body: dict, resolution: str) -> None:
    assert body == site.history(resolution)
    # not empty by mistake: a full hour in the middle of what was read
    full = [point for point in body["data"] if point.get("photovoltaic", 0) > 1500]
    assert full
    assert full[-1]["grid"]["feedIn"] == pytest.approx(59, rel=0.02)
    assert body["data"][-1].keys() == {"measuredAt"}
    assert body["total"]["photovoltaic"] == pytest.approx(HOURS * 1512, rel=0.01)


def check_live(site: Site, body: dict) -> None:
    assert body == site.live()
    assert (body["photovoltaic"], body["grid"], body["battery"]["power"]) == (1512, -59, -853)


def iso(at: datetime, zone) -> str:
    return at.astimezone(zone).isoformat()


@pytest.mark.parametrize("resolution", ["15m", "1h"])
def test_the_asynchronous_connector_reads_what_the_figures_say(site, resolution):
    async def run() -> tuple:
        async with AsyncGridboxConnector(site.config()) as connector:
            start, end = (iso(at, site.cast.lindenweg.zone) for at in site.interval)
            return (
                connector.systems,
                await connector.get_live_data_by_id(site.system_id),
                await connector.get_historical_data(start, end, resolution),
            )

    systems, live, history = asyncio.run(run())
    (system,) = systems.values()
    assert (system.id, system.name) == (site.system_id, "Lindenweg 12")
    assert system.serial_number == "GX-0001"
    check_live(site, live)
    check_history(site, history[site.system_id], resolution)


def test_the_asynchronous_connector_knows_a_wrong_password(site):
    config = site.config()
    config["login"]["password"] = "wrong"
    with pytest.raises(GridXAuthenticationError):
        asyncio.run(AsyncGridboxConnector.create(config))


def test_the_asynchronous_connector_goes_on_with_the_id_token(site):
    async def run() -> dict:
        async with AsyncGridboxConnector(site.config()) as connector:
            connector.token["access_token"] = "spoiled"
            return await connector.get_live_data_by_id(site.system_id)

    check_live(site, asyncio.run(run()))


@pytest.mark.parametrize("resolution", ["15m", "1h"])
def test_the_synchronous_connector_reads_what_the_figures_say(site, synchronous, resolution):
    assert synchronous.get_gateways() == [site.system_id]
    check_live(site, synchronous.retrieve_live_data_by_id(site.system_id))
    start, end = (iso(at, site.cast.lindenweg.zone) for at in site.interval)
    (history,) = synchronous.retrieve_historical_data(start, end, resolution)
    check_history(site, history, resolution)


@pytest.mark.parametrize("options", [[], ["--async"]])
def test_the_command_prints_the_live_values(site, capsys, monkeypatch, options):
    arguments = ["gridx", "-u", "mara@meyer.example", "-p", PASSWORD]
    arguments += ["--login-url", f"{site.server}/api/oauth/token"]
    arguments += ["--client-id", "mG0Phmo7DmnvAqO7p6B0WOYBODppY3cc", "--realm", "any", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    gridx_connector.cli.main()
    (body,) = json.loads(capsys.readouterr().out)
    check_live(site, body)


def test_the_viessmann_connector_finds_systems_by_gateways_and_reads_them(site, monkeypatch):
    monkeypatch.delenv("USERNAME", raising=False)
    monkeypatch.delenv("PASSWORD", raising=False)
    config = site.config(
        gateways=f"{site.server}/api/gateways",
        live=f"{site.server}/api/systems/{{}}/live",
        historical=f"{site.server}/api/systems/{{}}/historical?interval={{}}&resolution={{}}",
    )
    config["login"] |= {"audience": "my.gridx", "scope": "email openid"}
    connector = ViessmannConnector(config)
    assert connector.get_gateways() == [site.system_id]
    (live,) = connector.retrieve_live_data()
    check_live(site, live)
    start, end = (iso(at, site.cast.lindenweg.zone) for at in site.interval)
    (history,) = connector.retrieve_historical_data(start, end)
    check_history(site, history, "15m")


# The typed client ------------------------------------------------------------------------------


@pytest.fixture
def typed(site, synchronous) -> AuthenticatedClient:
    token = synchronous.token["access_token"]
    return AuthenticatedClient(base_url=f"{site.server}/api", token=token)


def operation(path: str) -> ModuleType:
    return import_module(f"gridx_connector_api.api.{path}")


def test_the_typed_client_reads_accounts(site, typed):
    cast = site.cast
    get = operation("account.get_account").sync(client=typed)
    assert get.id == cast.meyers.pk
    assert get.kind.value == "end-user"
    (listed,) = operation("account.get_accounts").sync(client=typed, page=1, per_page=20)
    one = operation("account.get_accounts_account_id").sync(cast.meyers.pk, client=typed)
    assert listed.to_dict() == one.to_dict()
    below = operation("account.get_accounts_account_id_accounts")
    assert below.sync(cast.meyers.pk, client=typed) == []
    parents = operation("account.get_accounts_account_id_parents")
    assert parents.sync(cast.meyers.pk, client=typed) == []


def test_the_typed_client_reads_customers_and_users(site, typed):
    cast = site.cast
    (customer,) = operation("customer.get_customers").sync(client=typed)
    assert customer["id"] == str(cast.meyers.pk)
    one = operation("customer.get_customers_customer_id").sync(cast.meyers.pk, client=typed)
    assert one["name"] == "Family Meyer"
    users = operation("customer.get_customers_customer_id_users")
    (user,) = users.sync(cast.meyers.pk, client=typed)
    me = operation("user.get_user").sync(client=typed)
    assert me.id == user.id == cast.mara.pk
    assert (me.account_id, me.full_name) == (cast.meyers.pk, "Mara Meyer")
    assert me.language.tag == "en"


def test_the_typed_client_reads_systems(site, typed):
    (system,) = operation("system.get_systems").sync(client=typed)
    assert system["id"] == site.system_id
    module = operation("system.get_accounts_account_id_systems")
    (system,) = module.sync(site.cast.meyers.pk, client=typed)
    assert system["id"] == site.system_id
    # the client was generated without the shape of these answers
    one = operation("system.get_systems_system_id")
    answer = one.sync_detailed(site.cast.lindenweg.pk, client=typed)
    assert json.loads(answer.content)["id"] == site.system_id
    includes = import_module("gridx_connector_api.models.get_systems_include_item")
    every = list(includes.GetSystemsIncludeItem)
    embed = import_module("gridx_connector_api.models.get_systems_embed").GetSystemsEmbed
    (system,) = operation("system.get_systems").sync(
        client=typed, include=every, embed=embed("user")
    )
    assert system.users[0].id == site.cast.mara.pk


def test_the_typed_client_reads_gateways(site, typed):
    (gateway,) = operation("gateway.get_gateways").sync(client=typed)
    assert gateway.id == site.cast.gateway.pk
    assert gateway.connection_status.status.value == "UNAVAILABLE"
    assert gateway["system"] == {"id": site.system_id}
    one = operation("gateway.get_gateways_gateway_id")
    answer = one.sync_detailed(site.cast.gateway.pk, client=typed)
    assert UUID(json.loads(answer.content)["id"]) == site.cast.gateway.pk


def test_the_typed_client_reads_appliances(site, typed):
    cast = site.cast
    heater = Appliance.objects.create(
        system=cast.lindenweg,
        gateway=cast.gateway,
        kind=ApplianceKind.HEATER,
        name="Tank",
        max_power_w=3500,
    )
    listed = operation("appliance.get_gateways_gateway_id_appliances")
    answer = listed.sync_detailed(cast.gateway.pk, client=typed, list_all=True)
    bodies = {body["name"]: body for body in json.loads(answer.content)}
    assert len(bodies) == 5
    meter = Meter.from_dict(bodies["Grid meter"])
    assert (meter.id, meter.kind.value) == (cast.grid_meter.pk, "GRID")
    tank = Heater.from_dict(bodies["Tank"])
    assert (tank.id, tank.heater.nominal_power) == (heater.pk, 3500)
    one = operation("appliance.get_gateways_gateway_id_appliances_appliance_id")
    answer = one.sync_detailed(cast.gateway.pk, cast.battery.pk, client=typed)
    assert json.loads(answer.content)["kind"] == "BATTERY"


def test_the_typed_client_reads_measurements(site, typed):
    answer = operation("system.get_systems_system_id_live").sync_detailed(
        site.cast.lindenweg.pk, client=typed
    )
    check_live(site, json.loads(answer.content))
    historical = operation("system.get_systems_system_id_historical")
    interval = "/".join(at.isoformat() for at in site.interval)
    for resolution in import_module(
        "gridx_connector_api.models.get_systems_system_id_historical_resolution"
    ).GetSystemsSystemIDHistoricalResolution:
        body = historical.sync(
            site.cast.lindenweg.pk, client=typed, interval=interval, resolution=resolution
        )
        assert body.data
        assert body.total.photovoltaic == pytest.approx(HOURS * 1512, rel=0.01)
        total = body.to_dict()["total"]
        assert total == site.history(resolution.value)["total"]


def test_the_typed_client_reads_what_was_read_of_each_appliance(site, typed):
    cast = site.cast
    where = "appliance.get_gateways_gateway_id_appliances_appliance_id_measurements"
    end = site.interval[1]
    interval = f"{(end - timedelta(hours=20)).isoformat()}/{end.isoformat()}"
    asked = {"client": typed, "interval": interval}
    for appliance in (cast.grid_meter, cast.pv, cast.battery):
        found = operation(f"{where}_appliance").sync(cast.gateway.pk, appliance.pk, **asked)
        assert len(found) > 1
        assert found[0].measured_at < found[-1].measured_at
    *_, last = found
    assert last.battery.present_charge == 853_000
    assert operation(where).sync(cast.gateway.pk, cast.pv.pk, **asked)
    told = operation(f"{where}_energymanagement").sync(cast.gateway.pk, cast.pv.pk, **asked)
    assert not told.to_dict()
    refused = operation(f"{where}_appliance").sync(
        cast.gateway.pk, cast.pv.pk, client=typed, interval="2026-06-01T00:00Z/2026-06-03T00:00Z"
    )
    assert "24 hours" in refused.details[0]


def test_the_typed_client_reads_refusals(site, typed):
    historical = operation("system.get_systems_system_id_historical")
    refused = historical.sync(site.cast.lindenweg.pk, client=typed, interval="today")
    assert refused.details[0].startswith("interval: ")
    hidden = historical.sync(site.cast.hafenstrasse.pk, client=typed, interval="today")
    assert hidden.message == "Not found."
    stranger = AuthenticatedClient(base_url=f"{site.server}/api", token="spoiled")
    for path in ("account.get_account", "gateway.get_gateways", "system.get_systems"):
        assert operation(path).sync(client=stranger).message


def test_an_interval_may_be_escaped_or_not(site, typed):
    start, end = (iso(at, site.cast.lindenweg.zone) for at in site.interval)
    client = typed.get_httpx_client()
    raw = f"/systems/{site.system_id}/historical?resolution=15m&interval="
    answers = [
        client.get(f"{raw}{text}") for text in (f"{start}/{end}", quote(f"{start}/{end}", safe=""))
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() == site.history("15m")
