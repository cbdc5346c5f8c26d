from dataclasses import replace
from datetime import timedelta

import pytest

from accounts.models import AuditEntry
from inventory.discovery import FoundAppliance, Remark, UnableToAdd, apply_hello
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Cluster

GRID = FoundAppliance(local_id="grid", kind="grid_meter", interval_s=60)
ROOF = FoundAppliance(
    local_id="pv",
    kind="pv_inverter",
    interval_s=60,
    name="An inverter",
    manufacturer="Sunny",
    min_power_w=-9_800,
    max_power_w=0,
)
PUMP = FoundAppliance(
    local_id="pump", kind="heat_pump", interval_s=30, name="Heat pump", max_power_w=3_000
)


def say_hello(gateway, found, now, **fields):
    fields = {"model": "Box 2", "firmware": "1.4", "came_at": now} | fields
    return apply_hello(gateway=gateway, found=found, now=now, **fields)


def test_what_a_gateway_finds_becomes_its_appliances(cast, now):
    discovery = say_hello(cast.gateway, [PUMP], now)
    pump = Appliance.objects.get(gateway=cast.gateway, local_id="pump")
    assert discovery.known == {"pump": pump.pk}
    assert discovery.intervals_s == {pump.key: (None, 30)}
    assert (pump.system, pump.kind, pump.name) == (cast.lindenweg, "heat_pump", "Heat pump")
    assert (pump.min_power_w, pump.max_power_w, pump.interval_s) == (None, 3_000, 30)


def test_a_hello_says_what_the_gateway_is(cast, now):
    say_hello(cast.gateway, [], now, model="Box 3", firmware="2.0")
    cast.gateway.refresh_from_db()
    assert (cast.gateway.model, cast.gateway.firmware) == ("Box 3", "2.0")


def test_the_same_hello_again_changes_nothing(cast, now):
    first = say_hello(cast.gateway, [GRID, ROOF, PUMP], now)
    before = list(Appliance.objects.order_by("key").values())
    again = say_hello(cast.gateway, [GRID, ROOF, PUMP], now)
    assert again.known == first.known
    assert again.intervals_s == {
        key: (after_s, after_s) for key, (_before_s, after_s) in first.intervals_s.items()
    }
    assert list(Appliance.objects.order_by("key").values()) == before


def test_an_appliance_that_a_hello_does_not_name_stays(cast, now):
    say_hello(cast.gateway, [GRID], now)
    assert Appliance.objects.filter(gateway=cast.gateway, removed_at=None).count() == 4


def test_what_a_hello_does_not_say_stays_as_it_was(cast, now):
    say_hello(cast.gateway, [replace(ROOF, min_power_w=None, max_power_w=None)], now)
    cast.pv.refresh_from_db()
    assert (cast.pv.min_power_w, cast.pv.max_power_w) == (-9_800, 0)
    assert cast.pv.manufacturer == "Sunny"


def test_the_name_that_people_gave_stays(cast, now):
    say_hello(cast.gateway, [ROOF], now)
    cast.pv.refresh_from_db()
    assert cast.pv.name == "Roof"


def test_an_appliance_without_a_name_is_called_by_its_local_id(cast, now):
    say_hello(cast.gateway, [replace(PUMP, name=None)], now)
    assert Appliance.objects.get(local_id="pump").name == "pump"


def test_a_changed_interval_is_reported(cast, now):
    discovery = say_hello(cast.gateway, [replace(GRID, interval_s=9.5)], now)
    assert discovery.intervals_s == {cast.grid_meter.key: (60, 10)}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (replace(PUMP, kind="toaster"), UnableToAdd.UNKNOWN_KIND),
        (replace(PUMP, min_power_w=5_000), UnableToAdd.INVALID_LIMITS),
        (replace(PUMP, max_power_w=float("nan")), UnableToAdd.INVALID_LIMITS),
        (replace(PUMP, capacity_wh=-1), UnableToAdd.INVALID_LIMITS),
        (replace(PUMP, interval_s=0.2), UnableToAdd.INVALID_INTERVAL),
        (replace(PUMP, interval_s=7_200), UnableToAdd.INVALID_INTERVAL),
        (replace(PUMP, model="m" * 101), UnableToAdd.INVALID_TEXT),
        (replace(PUMP, name="n\x00"), UnableToAdd.INVALID_TEXT),
        # Half of the range is known from before.
        (replace(ROOF, min_power_w=10.0, max_power_w=None), UnableToAdd.INVALID_LIMITS),
    ],
)
def test_a_wrong_appliance_is_refused_and_its_neighbours_are_not(cast, now, wrong, reason):
    discovery = say_hello(cast.gateway, [wrong, GRID], now)
    assert discovery.refused == {wrong.local_id: reason}
    assert discovery.known == {"grid": cast.grid_meter.pk}
    assert not Appliance.objects.filter(local_id="pump").exists()


def test_a_removed_appliance_does_not_come_back_by_itself(cast, now):
    Appliance.objects.filter(pk=cast.pv.pk).update(removed_at=now)
    assert say_hello(cast.gateway, [ROOF], now).refused == {"pv": UnableToAdd.REMOVED}
    cast.pv.refresh_from_db()
    assert cast.pv.removed_at == now


def test_a_gateway_has_a_greatest_number_of_appliances(cast, now, monkeypatch):
    monkeypatch.setattr("inventory.discovery.MOST_APPLIANCES", 5)
    boiler = replace(PUMP, local_id="boiler", kind="heater")
    discovery = say_hello(cast.gateway, [GRID, PUMP, boiler], now)
    assert discovery.refused == {"boiler": UnableToAdd.TOO_MANY}


def test_another_systems_appliance_with_the_same_local_id_is_left_alone(cast, now):
    say_hello(cast.gateway, [replace(GRID, manufacturer="Mine")], now)
    cast.other_meter.refresh_from_db()
    assert (cast.other_meter.system, cast.other_meter.manufacturer) == (cast.hafenstrasse, "")


def test_an_appliance_without_a_gateway_is_adopted(cast, now):
    imported = Appliance.objects.create(
        system=cast.lindenweg, local_id="pump", kind=ApplianceKind.HEAT_PUMP, name="Imported"
    )
    assert say_hello(cast.gateway, [PUMP], now).known == {"pump": imported.pk}
    imported.refresh_from_db()
    assert (imported.gateway, imported.name) == (cast.gateway, "Imported")


def test_an_appliance_of_another_kind_is_not_adopted(cast, now):
    imported = Appliance.objects.create(
        system=cast.lindenweg, local_id="pump", kind=ApplianceKind.HEATER, name="Imported"
    )
    discovery = say_hello(cast.gateway, [PUMP], now)
    assert discovery.known["pump"] != imported.pk
    imported.refresh_from_db()
    assert imported.gateway is None


BUS = FoundAppliance(
    local_id="modbus-3", kind="ev_charging_station", interval_s=60, name="Wallbox", capacity_wh=1
)
PUMP_ON_BUS = replace(PUMP, local_id="modbus-3")


def test_another_kind_under_a_known_local_id_is_another_appliance(cast, now):
    say_hello(cast.gateway, [BUS], now)
    cluster = Cluster.objects.create(system=cast.lindenweg, name="Garage")
    Appliance.objects.filter(local_id="modbus-3").update(cluster=cluster)
    wallbox = Appliance.objects.get(local_id="modbus-3")
    later = now + timedelta(days=300)
    came_at = later - timedelta(minutes=5)
    discovery = say_hello(cast.gateway, [PUMP_ON_BUS], later, came_at=came_at)
    pump = Appliance.objects.get(local_id="modbus-3")
    assert discovery.known == {"modbus-3": pump.pk} != {"modbus-3": wallbox.pk}
    assert discovery.remarks == {"modbus-3": Remark.REPLACED}
    assert discovery.intervals_s == {pump.key: (None, 30)}
    assert (pump.name, pump.kind, pump.cluster) == ("Heat pump", "heat_pump", None)
    assert (pump.max_power_w, pump.capacity_wh) == (3_000, None)
    wallbox.refresh_from_db()
    assert (wallbox.name, wallbox.kind, wallbox.cluster) == (
        "Wallbox",
        "ev_charging_station",
        cluster,
    )
    assert (wallbox.local_id, wallbox.gateway, wallbox.removed_at) == ("", cast.gateway, came_at)
    entry = AuditEntry.objects.get(target_id=wallbox.pk)
    assert (entry.verb, entry.account, entry.by) == ("removed", cast.meyers, None)
    again = say_hello(cast.gateway, [PUMP_ON_BUS], later)
    assert (again.known, again.remarks) == (discovery.known, {})


def test_another_serial_number_is_another_appliance_where_both_are_known(cast, now):
    names = [
        say_hello(cast.gateway, [replace(PUMP, serial_number=serial)], now).known["pump"]
        for serial in (None, "A1", None, "A1", "B2")
    ]
    assert len(set(names[:4])) == 1
    assert names[4] != names[0]
    assert Appliance.objects.get(pk=names[0]).serial_number == "A1"


def test_what_staff_corrected_stays_and_is_the_same_appliance(cast, now):
    meter = FoundAppliance(local_id="meter", kind="meter", interval_s=60)
    known = say_hello(cast.gateway, [meter], now).known
    Appliance.objects.filter(local_id="meter").update(kind=ApplianceKind.HOUSEHOLD_METER)
    assert say_hello(cast.gateway, [meter], now).known == known
    assert Appliance.objects.get(local_id="meter").kind == "household_meter"


def test_in_the_place_of_a_removed_appliance_there_may_be_another(cast, now):
    say_hello(cast.gateway, [BUS], now)
    Appliance.objects.filter(local_id="modbus-3").update(removed_at=now)
    later = now + timedelta(days=1)
    assert say_hello(cast.gateway, [BUS], later).refused == {"modbus-3": UnableToAdd.REMOVED}
    discovery = say_hello(cast.gateway, [PUMP_ON_BUS], later)
    assert discovery.known == {"modbus-3": Appliance.objects.get(local_id="modbus-3").pk}
    assert Appliance.objects.get(name="Wallbox").removed_at == now


def test_another_device_that_is_refused_leaves_the_one_before_alone(cast, now):
    known = say_hello(cast.gateway, [BUS], now).known
    toaster = replace(PUMP_ON_BUS, kind="toaster")
    assert say_hello(cast.gateway, [toaster], now).refused.keys() == known.keys()
    assert say_hello(cast.gateway, [BUS], now).known == known


def test_devices_that_take_turns_count_among_the_greatest_number(cast, now, monkeypatch):
    monkeypatch.setattr("inventory.discovery.MOST_APPLIANCES", 7)
    refused = [
        say_hello(cast.gateway, [found], now).refused for found in (BUS, PUMP_ON_BUS, BUS) * 2
    ]
    assert refused[:3] == [{}, {}, {}]
    assert refused[4] == {"modbus-3": UnableToAdd.TOO_MANY}
    assert Appliance.objects.filter(gateway=cast.gateway).count() == 7


def test_what_was_part_of_the_one_before_is_part_of_the_other_where_the_gateway_says_so(cast, now):
    roof = replace(ROOF, parent="modbus-3")
    say_hello(cast.gateway, [BUS, roof], now)
    other = say_hello(cast.gateway, [PUMP_ON_BUS, roof], now).known["modbus-3"]
    cast.pv.refresh_from_db()
    assert cast.pv.parent_id == other


def test_an_appliance_is_part_of_the_one_that_it_names(cast, now):
    hybrid = FoundAppliance(local_id="hybrid", kind="hybrid_inverter", interval_s=60)
    say_hello(cast.gateway, [replace(ROOF, parent="hybrid"), hybrid], now)
    cast.pv.refresh_from_db()
    assert cast.pv.parent.local_id == "hybrid"


def test_a_parent_that_is_unknown_or_closes_a_circle_is_left_out(cast, now):
    hybrid = FoundAppliance(
        local_id="hybrid", kind="hybrid_inverter", interval_s=60, parent="nobody"
    )
    discovery = say_hello(
        cast.gateway,
        [replace(ROOF, parent="pump"), replace(PUMP, parent="pv"), hybrid],
        now,
    )
    assert discovery.remarks == {"pump": Remark.UNKNOWN_PARENT, "hybrid": Remark.UNKNOWN_PARENT}
    cast.pv.refresh_from_db()
    assert cast.pv.parent.local_id == "pump"
    assert Appliance.objects.get(local_id="pump").parent is None
