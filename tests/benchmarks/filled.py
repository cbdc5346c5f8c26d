"""Homes with years of slots, hours, days and months, made by the database itself."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

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


# Rows lie as the product leaves them. Those of settled days are gathered, a system's day by day. Of
# the days since, a page holds what was computed at about the same time of several systems, as it
# does of days and months.
UNSETTLED_DAYS = 2
_OF_APPLIANCES = (ApplianceSlot, ApplianceHour, ApplianceDay)
_STEPS = {
    SystemSlot: "15 min",
    ApplianceSlot: "15 min",
    SystemHour: "1 hour",
    ApplianceHour: "1 hour",
}
# Days and months are those of the zone's clock.
_LOCAL = {
    SystemDay: ("1 day", f"{DAYS} days"),
    ApplianceDay: ("1 day", f"{DAYS} days"),
    SystemMonth: ("1 month", f"{MONTHS} months"),
}
_PERIODS = """(
    SELECT moment AT TIME ZONE %(zone)s FROM generate_series(
        %(until)s::timestamptz AT TIME ZONE %(zone)s - %(back)s::interval,
        %(until)s::timestamptz AT TIME ZONE %(zone)s - %(step)s::interval, %(step)s
    ) AS moment
)"""
_DAYS = """(
    SELECT moment AT TIME ZONE %(zone)s FROM generate_series(
        %(from)s::timestamptz AT TIME ZONE %(zone)s,
        %(settled)s::timestamptz AT TIME ZONE %(zone)s - interval '1 day', '1 day'
    ) AS moment
)"""
_NEWEST = """generate_series(
    %(settled)s::timestamptz, %(until)s::timestamptz - %(step)s::interval, %(step)s
)"""


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
    local = until.astimezone(ZoneInfo(ZONE))
    settled = local - timedelta(days=min(UNSETTLED_DAYS, days))
    with connection.cursor() as cursor:
        for table in _TABLES:
            name, of_appliance = table._meta.db_table, table in _OF_APPLIANCES
            keys = {"system_key": "system_key"}
            if of_appliance:
                keys["appliance_key"] = f"(system_key - 1) * {len(KINDS)} + number"
            cursor.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey")
            insert = f"{_insert(table, keys)} FROM"
            asked = {"zone": ZONE, "systems": systems, "until": until}
            if table in _LOCAL:
                step, back = _LOCAL[table]
                asked |= {"step": step, "back": back}
                cursor.execute(f"{insert} {_PERIODS} AS period (start), {_each(table)}", asked)
            else:
                asked |= {"step": _STEPS[table], "from": local - timedelta(days=days)}
                asked |= {"settled": settled}
                cursor.execute(
                    f"{insert} {_DAYS} AS day (begins), {_each(table, 'begins')}, {_of_day(table)}",
                    asked,
                )
                cursor.execute(f"{insert} {_NEWEST} AS newest (start), {_each(table)}", asked)
            columns = ", ".join([*keys, "start"])
            cursor.execute(f"ALTER TABLE {name} ADD CONSTRAINT {name}_pkey PRIMARY KEY ({columns})")


def _each(table: type[models.Model], of: str = "start") -> str:
    """Every system, or every appliance of every system, at each instant or day.

    What hangs on what stands before it stays in this order: whoever plans may not turn it round.
    """
    every = f"LATERAL generate_series(1, CASE WHEN {of} IS NULL THEN 0 ELSE %(systems)s END)"
    if table not in _OF_APPLIANCES:
        return f"{every} AS system_key"
    number = (
        f"LATERAL generate_series(1, CASE WHEN system_key IS NULL THEN 0 ELSE {len(KINDS)} END)"
    )
    return f"{every} AS system_key, {number} AS number"


def _of_day(table: type[models.Model]) -> str:
    """The instants of each of these days, one after the other."""
    whose = "number" if table in _OF_APPLIANCES else "system_key"
    ends = "(begins AT TIME ZONE %(zone)s + interval '1 day') AT TIME ZONE %(zone)s"
    return (
        f"LATERAL generate_series(CASE WHEN {whose} IS NULL THEN NULL ELSE begins END,"
        f" {ends} - %(step)s::interval, %(step)s) AS of_day (start)"
    )


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
