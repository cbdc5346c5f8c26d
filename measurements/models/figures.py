"""The energies of appliances and of systems, by slot, hour, day and month.

Integers in milliwatt-hours (`_mwh`): sums of them are exact in any order.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ApplianceFigures(models.Model):
    """The energies of one appliance over one span; `seen_s` of it were covered by readings."""

    import_mwh = models.BigIntegerField(null=True)
    export_mwh = models.BigIntegerField(null=True)
    imported_wh = models.FloatField(null=True)
    exported_wh = models.FloatField(null=True)
    mean_w = models.FloatField(null=True)
    min_w = models.FloatField(null=True)
    max_w = models.FloatField(null=True)
    soc = models.FloatField(null=True)
    stored_wh = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    seen_s = models.IntegerField()
    flags = models.SmallIntegerField(default=0)

    class Meta:
        abstract = True


class Coarser(models.Model):
    """A sum of slots: how much of it flags hold for, which are those of any of them.

    Of what was seen `recovered_s` arrived late, of what was not seen `estimated_s` were bridged.
    """

    recovered_s = models.IntegerField(default=0)
    estimated_s = models.IntegerField(default=0)

    class Meta:
        abstract = True


class ApplianceSlot(ApplianceFigures):
    """A quarter of an hour of one appliance.

    `carry` is what later slots need to know of the counters (`measurements.carry`).
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "start")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()
    carry = models.BinaryField(null=True)

    class Meta:
        verbose_name = _("slot of an appliance")
        verbose_name_plural = _("slots of appliances")


class ApplianceHour(ApplianceFigures, Coarser):
    """An hour of UTC of one appliance: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "start")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("hour of an appliance")
        verbose_name_plural = _("hours of appliances")


class ApplianceDay(ApplianceFigures, Coarser):
    """A local day of one appliance: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "start")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("day of an appliance")
        verbose_name_plural = _("days of appliances")


class Figures(models.Model):
    """The energies of a system over one span: what `measurements.flows` makes, column by column.

    Null where the system has no such part. `stored_*`, `soc` and the counters are those at the
    end of the span; all else adds up.
    """

    pv_mwh = models.BigIntegerField(null=True)
    charge_mwh = models.BigIntegerField(null=True)
    discharge_mwh = models.BigIntegerField(null=True)
    ev_mwh = models.BigIntegerField(null=True)
    heat_pump_mwh = models.BigIntegerField(null=True)
    heater_mwh = models.BigIntegerField(null=True)
    import_mwh = models.BigIntegerField(null=True)
    export_mwh = models.BigIntegerField(null=True)
    consumption_mwh = models.BigIntegerField(null=True)
    household_mwh = models.BigIntegerField(null=True)
    pv_to_load_mwh = models.BigIntegerField(null=True)
    pv_to_battery_mwh = models.BigIntegerField(null=True)
    pv_to_grid_mwh = models.BigIntegerField(null=True)
    battery_to_load_mwh = models.BigIntegerField(null=True)
    battery_to_grid_mwh = models.BigIntegerField(null=True)
    grid_to_load_mwh = models.BigIntegerField(null=True)
    grid_to_battery_mwh = models.BigIntegerField(null=True)
    household_from_pv_mwh = models.BigIntegerField(null=True)
    household_from_battery_mwh = models.BigIntegerField(null=True)
    household_from_grid_mwh = models.BigIntegerField(null=True)
    ev_from_pv_mwh = models.BigIntegerField(null=True)
    ev_from_battery_mwh = models.BigIntegerField(null=True)
    ev_from_grid_mwh = models.BigIntegerField(null=True)
    heat_pump_from_pv_mwh = models.BigIntegerField(null=True)
    heat_pump_from_battery_mwh = models.BigIntegerField(null=True)
    heat_pump_from_grid_mwh = models.BigIntegerField(null=True)
    heater_from_pv_mwh = models.BigIntegerField(null=True)
    heater_from_battery_mwh = models.BigIntegerField(null=True)
    heater_from_grid_mwh = models.BigIntegerField(null=True)
    residual_mwh = models.BigIntegerField(null=True)
    unmetered_mwh = models.BigIntegerField(null=True)
    grid_via_battery_mwh = models.BigIntegerField(null=True)
    stored_mwh = models.BigIntegerField(null=True)
    stored_from_grid_mwh = models.BigIntegerField(null=True)
    soc = models.FloatField(null=True)
    imported_wh = models.FloatField(null=True)
    exported_wh = models.FloatField(null=True)
    seen_s = models.IntegerField()
    expected_s = models.IntegerField()
    flags = models.SmallIntegerField(default=0)

    class Meta:
        abstract = True


class SystemSlot(Figures):
    """A quarter of an hour of a whole system."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("slot of a system")
        verbose_name_plural = _("slots of systems")


class SystemHour(Figures, Coarser):
    """An hour of UTC of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("hour of a system")
        verbose_name_plural = _("hours of systems")


class SystemDay(Figures, Coarser):
    """A local day of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("day of a system")
        verbose_name_plural = _("days of systems")


class SystemMonth(Figures, Coarser):
    """A local month of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()
    # Of 802 appliances, a month has more seconds than 32 bits hold.
    seen_s = models.BigIntegerField()
    expected_s = models.BigIntegerField()
    recovered_s = models.BigIntegerField(default=0)
    estimated_s = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("month of a system")
        verbose_name_plural = _("months of systems")
