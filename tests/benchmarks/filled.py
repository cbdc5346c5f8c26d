"""Homes with years of slots, hours, days and months, made by the database itself."""

from datetime import datetime

from django.db import connection, models

from accounts.models import Account
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System, SystemPool
from measurements.models import (
    ApplianceDay,
    ApplianceHour,
    ApplianceSlot,
    LatestReading,
    Reading,
    SystemDay,
    SystemHour,
    SystemMonth,
    SystemSlot,
)

# What every home has.
KINDS = (
    ApplianceKind.GRID_METER,
    ApplianceKind.PV_INVERTER,
    ApplianceKind.BATTERY,
    ApplianceKind.EV_CHARGING_STATION,
    ApplianceKind.HEAT_PUMP,
)
ZONE = "Europe/Berlin"
DAYS, MONTHS = 730, 60  # of which there are rows, however far the slots reach
POOLED = 500

_MADE_UP = {
    "IntegerField": "900",
    "SmallIntegerField": "0",
    "BigIntegerField": "(random() * 500000)::bigint",
    "FloatField": "random()",
}
_TABLES = (
    SystemSlot,
    ApplianceSlot,
    SystemHour,
    ApplianceHour,
    SystemDay,
    ApplianceDay,
    SystemMonth,
)


def fill(*, systems: int, days: int, until: datetime, now: datetime) -> Account:
    """The account of so many homes, with slots of so many days before the local midnight `until`,
    newest readings of `now`, and a pool of up to `POOLED`. What was there before goes."""
    with connection.cursor() as cursor:  # what was measured keeps its appliances
        cursor.execute(
            f"TRUNCATE {', '.join(table._meta.db_table for table in (Reading, *_TABLES))}"
        )
    SystemPool.objects.all().delete()
    Appliance.objects.all().delete()
    System.objects.all().delete()
    account, _made = Account.objects.get_or_create(name="Filled", parent=None)
    System.objects.bulk_create(
        System(key=key, account=account, name=f"Home {key}", time_zone=ZONE)
        for key in range(1, systems + 1)
    )
    homes = list(System.objects.order_by("key"))
    Appliance.objects.bulk_create(
        Appliance(
            key=number * len(KINDS) + place + 1,
            system=home,
            kind=kind,
            name=kind.value,
            capacity_wh=10_000 if kind is ApplianceKind.BATTERY else None,
            interval_s=3600,  # so that what was read is still new when it is asked for
        )
        for number, home in enumerate(homes)
        for place, kind in enumerate(KINDS)
    )
    pool = SystemPool.objects.create(account=account, name="Pool", time_zone=ZONE)
    pool.systems.set(homes[:POOLED])
    _fill_tables(systems, days, until)
    LatestReading.objects.all().delete()
    LatestReading.objects.bulk_create(
        LatestReading(
            system_key=(key - 1) // len(KINDS) + 1,
            appliance_key=key,
            at=now,
            power_at=now,
            power_w=853 if key % len(KINDS) else -853,
            soc=0.5,
        )
        for key in range(1, systems * len(KINDS) + 1)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return account


def _fill_tables(systems: int, days: int, until: datetime) -> None:
    spans = {
        SystemSlot: ("15 min", f"{days} days"),
        ApplianceSlot: ("15 min", f"{days} days"),
        SystemHour: ("1 hour", f"{days} days"),
        ApplianceHour: ("1 hour", f"{days} days"),
        SystemDay: ("1 day", f"{DAYS} days"),
        ApplianceDay: ("1 day", f"{DAYS} days"),
        SystemMonth: ("1 month", f"{MONTHS} months"),
    }
    of_each = (
        f", LATERAL generate_series(1, CASE WHEN system_key IS NULL THEN 0 ELSE {len(KINDS)} END)"
        " AS number"
    )
    with connection.cursor() as cursor:
        for table in _TABLES:
            name = table._meta.db_table
            keys = {"system_key": "system_key"}
            of_appliance = table in (ApplianceSlot, ApplianceHour, ApplianceDay)
            if of_appliance:
                keys["appliance_key"] = f"(system_key - 1) * {len(KINDS)} + number"
            cursor.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey")
            step, back = spans[table]
            # Days and months are those of the zone's clock, slots and hours those of UTC. One
            # instant after the other and of it system by system, as they are computed: a page holds
            # some systems' rows of an instant.
            cursor.execute(
                f"{_insert(table, keys)} FROM (SELECT moment AT TIME ZONE %(zone)s AS start"
                " FROM generate_series(%(until)s::timestamptz AT TIME ZONE %(zone)s"
                " - %(back)s::interval, %(until)s::timestamptz AT TIME ZONE %(zone)s"
                " - %(step)s::interval, %(step)s) AS moment) AS span,"
                " LATERAL generate_series(1, CASE WHEN start IS NULL THEN 0 ELSE %(systems)s END)"
                " AS system_key" + (of_each if of_appliance else ""),
                {
                    "zone": "UTC" if step in ("15 min", "1 hour") else ZONE,
                    "until": until,
                    "back": back,
                    "step": step,
                    "systems": systems,
                },
            )
            columns = ", ".join([*keys, "start"])
            cursor.execute(f"ALTER TABLE {name} ADD CONSTRAINT {name}_pkey PRIMARY KEY ({columns})")


def _insert(table: type[models.Model], keys: dict[str, str]) -> str:
    """The beginning of an INSERT of made-up rows; figures of a plausible size."""
    columns = {
        field.column: _MADE_UP[field.get_internal_type()]
        for field in table._meta.concrete_fields
        if field.column not in {*keys, "start"} and field.get_internal_type() in _MADE_UP
    }
    return (
        f"INSERT INTO {table._meta.db_table} ({', '.join([*keys, 'start', *columns])})"
        f" SELECT {', '.join([*keys.values(), 'start', *columns.values()])}"
    )
