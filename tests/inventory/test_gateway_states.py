"""What is known of a gateway: whether it is there, by the broker's word and by what was heard."""

import csv
from datetime import datetime, timedelta

import pytest
from django.test import Client

from gridx import clock
from inventory.export import inventory_csv
from inventory.models import Appliance, Gateway
from inventory.queries import (
    GatewayState,
    InventoryFilter,
    Section,
    gateway_state,
    inventory,
)
from inventory.silence import silent_after
from tests.cast import Cast

SECOND = timedelta(seconds=1)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch, now: datetime) -> datetime:
    monkeypatch.setattr(clock, "now", lambda: now)
    return now


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"online": True, "contacted_at": 119}, "online"),
        ({"online": True, "contacted_at": 121}, "silent"),
        ({"online": True, "contacted_at": None}, "online"),
        ({"online": False, "contacted_at": 1}, "offline"),
        ({"online": False, "contacted_at": None}, "never"),
        # It never said whether it is there.
        ({"online": None, "contacted_at": 119}, "online"),
        ({"online": None, "contacted_at": 121}, "silent"),
        ({"online": None, "contacted_at": None}, "never"),
        ({"online": True, "contacted_at": 121, "revoked_at": 0}, "revoked"),
    ],
)
def test_a_gateway_is_in_exactly_one_state(cast: Cast, now: datetime, fields, state):
    Appliance.objects.filter(gateway=cast.gateway).update(interval_s=5)
    for name in ("contacted_at", "revoked_at"):
        if fields.get(name) is not None:
            fields = fields | {name: now - fields[name] * SECOND}
    Gateway.objects.filter(pk=cast.gateway.pk).update(**fields)
    assert gateway_state(cast.gateway, now=now) == GatewayState(state)


@pytest.mark.parametrize("silent_s", [60, 120, 121, 270, 271, 5_000])
@pytest.mark.parametrize("online", [True, None])
@pytest.mark.parametrize("intervals_s", [(), (1,), (90,), (3_600, 90), (900, 900)])
def test_the_database_and_the_pages_know_the_same_silence(
    cast: Cast, now: datetime, intervals_s, online, silent_s
):
    appliances = Appliance.objects.filter(gateway=cast.gateway)
    appliances.update(removed_at=now)
    for one, interval_s in zip(appliances, intervals_s, strict=False):
        Appliance.objects.filter(pk=one.pk).update(removed_at=None, interval_s=interval_s)
    heard_at = now - silent_s * SECOND
    Gateway.objects.filter(pk=cast.gateway.pk).update(online=online, contacted_at=heard_at)
    allowed = silent_after(intervals_s, says_status=online is not None)
    expected = allowed is not None and now - heard_at > allowed
    assert (gateway_state(cast.gateway, now=now) is GatewayState.SILENT) == expected


def test_who_is_not_heard_is_not_shown_as_online_anywhere(
    client: Client, cast: Cast, at_noon: datetime
):
    client.force_login(cast.admin)
    heard_at = at_noon - timedelta(hours=3)
    Gateway.objects.filter(pk=cast.gateway.pk).update(online=True, contacted_at=heard_at)
    for url in (
        f"/gateways/{cast.gateway.pk}",
        f"/systems/{cast.lindenweg.pk}/inventory",
        "/inventory?show=gateways&q=GX-0001",
        f"/systems/{cast.lindenweg.pk}",
    ):
        html = client.get(url).content.decode().replace("\N{NO-BREAK SPACE}", " ")
        assert "dot ok" not in html
        assert "3 h ago" in html
    listed = client.get("/inventory?show=gateways&state=silent").content.decode()
    assert "GX-0001" in listed
    assert "GX-0001" not in client.get("/inventory?show=gateways&state=online").content.decode()


def test_who_sends_readings_and_never_a_status_is_online_everywhere(
    client: Client, cast: Cast, at_noon: datetime
):
    client.force_login(cast.admin)
    Gateway.objects.filter(pk=cast.gateway.pk).update(contacted_at=at_noon - 7 * SECOND)
    for url in (
        f"/gateways/{cast.gateway.pk}",
        f"/systems/{cast.lindenweg.pk}/inventory",
        f"/systems/{cast.lindenweg.pk}",
    ):
        html = client.get(url).content.decode()
        assert "dot ok" in html
        assert "not connected" not in html
        assert "offline" not in html


def test_the_file_of_gateways_says_the_same(cast: Cast, at_noon: datetime):
    Gateway.objects.filter(pk=cast.gateway.pk).update(
        online=True, contacted_at=at_noon - timedelta(hours=3)
    )
    wanted = InventoryFilter(section=Section.GATEWAYS)
    rows = inventory(user=cast.admin, account=None, wanted=wanted)
    lines = csv.DictReader(inventory_csv(rows, wanted.section))
    told = {row["serial"]: row["state"] for row in lines}
    assert told["GX-0001"] == "silent"
