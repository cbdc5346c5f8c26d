"""The hours of what was measured so far, from its slots; later ones come with their slots."""

from django.db import migrations

_ENERGIES = (
    *("pv_mwh", "charge_mwh", "discharge_mwh", "ev_mwh", "heat_pump_mwh", "heater_mwh"),
    *("import_mwh", "export_mwh", "consumption_mwh", "household_mwh"),
    *("pv_to_load_mwh", "pv_to_battery_mwh", "pv_to_grid_mwh"),
    *("battery_to_load_mwh", "battery_to_grid_mwh", "grid_to_load_mwh", "grid_to_battery_mwh"),
    *("household_from_pv_mwh", "household_from_battery_mwh", "household_from_grid_mwh"),
    *("ev_from_pv_mwh", "ev_from_battery_mwh", "ev_from_grid_mwh"),
    *("heat_pump_from_pv_mwh", "heat_pump_from_battery_mwh", "heat_pump_from_grid_mwh"),
    *("heater_from_pv_mwh", "heater_from_battery_mwh", "heater_from_grid_mwh"),
    *("residual_mwh", "grid_via_battery_mwh"),
)
_OF_SYSTEMS = (
    {name: f"sum({name})::bigint" for name in _ENERGIES}
    | {
        name: f"(array_agg({name} ORDER BY start DESC) FILTER (WHERE {name} IS NOT NULL))[1]"
        for name in ("stored_mwh", "stored_from_grid_mwh", "soc", "imported_wh", "exported_wh")
    }
    | {"seen_s": "sum(seen_s)", "expected_s": "sum(expected_s)", "flags": "bit_or(flags)"}
)
_OF_APPLIANCES = (
    {name: f"sum({name})::bigint" for name in ("import_mwh", "export_mwh")}
    | {
        "mean_w": "sum(mean_w * seen_s ORDER BY start DESC)"
        " / NULLIF(sum(seen_s) FILTER (WHERE mean_w IS NOT NULL), 0)",
        "min_w": "min(min_w)",
        "max_w": "max(max_w)",
    }
    | {
        name: f"(array_agg({name} ORDER BY start DESC) FILTER (WHERE {name} IS NOT NULL))[1]"
        for name in ("imported_wh", "exported_wh", "soc", "stored_wh", "temperature_c")
    }
    | {"seen_s": "sum(seen_s)", "flags": "bit_or(flags)"}
)


def _fill(whose: str, keys: str, columns: dict[str, str]) -> str:
    return f"""
    INSERT INTO measurements_{whose}hour ({keys}, start, {", ".join(columns)})
    SELECT {keys}, date_bin('1 hour', start, 'epoch'), {", ".join(columns.values())}
    FROM measurements_{whose}slot GROUP BY {keys}, date_bin('1 hour', start, 'epoch')
    """  # noqa: S608 - put together from this module's own names


class Migration(migrations.Migration):
    dependencies = [("measurements", "0005_hours")]

    operations = [
        migrations.RunSQL(
            # Nobody changes slots until their hours are there.
            "LOCK TABLE measurements_systemslot, measurements_applianceslot IN SHARE MODE",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            _fill("system", "system_key", _OF_SYSTEMS), "TRUNCATE measurements_systemhour"
        ),
        migrations.RunSQL(
            _fill("appliance", "system_key, appliance_key", _OF_APPLIANCES),
            "TRUNCATE measurements_appliancehour",
        ),
    ]
