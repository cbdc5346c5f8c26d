"""Readings as they came, and the energies made from them.

Every primary key begins with the system's key, so that the tables can be distributed by it. No
foreign keys: history stays with the system where it was measured, wherever appliances go later.
Energies are integers in milliwatt-hours (`_mwh`): sums of them are exact in any order.

Imports of recorded readings are not measured: they are rows as those of the other apps.
"""

from typing import Self

from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.models import OutboxMessage, User
from inventory.models import OfSystemQuerySet, System


class Flag(models.IntegerChoices):
    """What to know about a figure; bits, joined by OR."""

    ESTIMATED = 1, _("estimated")
    RECOVERED = 2, _("arrived late")
    RESET = 4, _("counter reset")
    IMPLAUSIBLE = 8, _("implausible reading held back")


class Cause(models.IntegerChoices):
    """Why slots are computed again; bits, joined by OR."""

    READINGS = 1, _("readings arrived late or were corrected")
    IMPORT = 2, _("recorded history was imported")
    REBUILD = 4, _("it was computed anew from its readings")
    FOLLOWING = 8, _("a counter's earlier readings changed")


class Quantities(models.Model):
    """What a gateway reads of one appliance at one instant; null where it was not read."""

    power_w = models.FloatField(null=True)
    imported_wh = models.FloatField(null=True)
    exported_wh = models.FloatField(null=True)
    soc = models.FloatField(null=True)
    energy_wh = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    current_l1_a = models.FloatField(null=True)
    current_l2_a = models.FloatField(null=True)
    current_l3_a = models.FloatField(null=True)
    plug_state = models.SmallIntegerField(null=True)

    class Meta:
        abstract = True


class Reading(Quantities):
    """One reading. Partitioned by week (`at`, UTC); kept for `settings.RAW_RETENTION`.

    `delay_s` is how long after `at` it arrived; null for imported history. With `interval_s`, the
    row speaks of [at, at + interval_s), and `import_energy_wh` and `export_energy_wh` are the
    energies of that interval.
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "at")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    at = models.DateTimeField()
    delay_s = models.IntegerField(null=True)
    interval_s = models.IntegerField(null=True)
    import_energy_wh = models.FloatField(null=True)
    export_energy_wh = models.FloatField(null=True)

    class Meta:
        verbose_name = _("reading")
        verbose_name_plural = _("readings")


class LatestReading(Quantities):
    """The newest reading of each appliance, so that “live” never scans history.

    Of each quantity the latest that was read, so a reading of the power alone leaves the known
    state of charge. `at` is the instant of the newest reading, `power_at` that of `power_w`.
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    at = models.DateTimeField()
    power_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("latest reading")
        verbose_name_plural = _("latest readings")


class DeclaredInterval(models.Model):
    """From when on an appliance reads how often; decides what a pause is."""

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "valid_from")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    valid_from = models.DateTimeField()
    interval_s = models.IntegerField()

    class Meta:
        verbose_name = _("declared interval")
        verbose_name_plural = _("declared intervals")


class DirtySlot(models.Model):
    """A slot of an appliance to compute again: written with the readings that touch it.

    `slots` of them from `start` on, all of one day of UTC: history is marked by the day. Rows are
    only ever added and claimed; a slot may be named by many.
    """

    id = models.BigAutoField(primary_key=True)
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()
    slots = models.SmallIntegerField(default=1, db_default=1)
    marked_at = models.DateTimeField()
    cause = models.SmallIntegerField(default=Cause.READINGS, db_default=Cause.READINGS)

    class Meta:
        verbose_name = _("slot to compute")
        verbose_name_plural = _("slots to compute")
        indexes = [models.Index(fields=["system_key", "start"], name="dirty_slot")]


class FinalSpan(models.Model):
    """Slots of an appliance whose readings retention has dropped: never computed again."""

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "from_at")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    from_at = models.DateTimeField()
    until_at = models.DateTimeField()

    class Meta:
        verbose_name = _("final span")
        verbose_name_plural = _("final spans")


class SystemClaim(models.Model):
    """One row a system: locked by the worker that computes its slots, so none is done twice."""

    system_key = models.IntegerField(primary_key=True)

    class Meta:
        verbose_name = _("claim")
        verbose_name_plural = _("claims")


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


class ApplianceSlot(ApplianceFigures):
    """A quarter of an hour of one appliance.

    `carry` is what later slots need to know of the counters (`measurements.energy.pack_carry`).
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "start")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()
    carry = models.BinaryField(null=True)

    class Meta:
        verbose_name = _("slot of an appliance")
        verbose_name_plural = _("slots of appliances")


class ApplianceHour(ApplianceFigures):
    """An hour of UTC of one appliance: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "appliance_key", "start")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("hour of an appliance")
        verbose_name_plural = _("hours of appliances")


class ApplianceDay(ApplianceFigures):
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


class SystemHour(Figures):
    """An hour of UTC of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("hour of a system")
        verbose_name_plural = _("hours of systems")


class SystemDay(Figures):
    """A local day of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("day of a system")
        verbose_name_plural = _("days of systems")


class DayChange(models.Model):
    """The receipt of a change: a local day of a system that was over has other figures now.

    `changes` says of each figure that changed (as in `measurements.derivation.NAMES`) what it was
    and what it is, in mWh: {"pv": [before, after]}; None where there was no statement.
    """

    id = models.BigAutoField(primary_key=True)
    system_key = models.IntegerField()
    start = models.DateTimeField()
    changed_at = models.DateTimeField()
    causes = models.SmallIntegerField()
    changes = models.JSONField()

    class Meta:
        verbose_name = _("change of a day")
        verbose_name_plural = _("changes of days")
        indexes = [models.Index(fields=["system_key", "start"], name="day_change")]


class ImportedDay(models.Model):
    """A local day of a system of which an import brought the first figures, with its instant.

    `marked_at`: that of the import's marks. What they change of the day afterwards, is still the
    same history, of which nobody has relied on a part. Kept for as long as marks may wait.
    """

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()
    marked_at = models.DateTimeField()

    class Meta:
        verbose_name = _("imported day")
        verbose_name_plural = _("imported days")


class DayCheckQuerySet(models.QuerySet):
    def wrong(self) -> Self:
        """Those of which something else is stored than what follows, as far as is known."""
        return self.filter(differing__gt=0).exclude(repaired_at=F("checked_at"))


class DayCheck(models.Model):
    """The last comparison of a local day of a system with the readings that it was made of.

    `slots` of appliances were computed anew; `differing` rows were other than stored. `changes` as
    in `DayChange`: what was stored, and what follows. `repaired_at`: when what follows took the
    place of what was stored, for the last time.
    """

    system_key = models.IntegerField()
    start = models.DateTimeField(_("day"))
    checked_at = models.DateTimeField(_("checked"))
    slots = models.IntegerField(_("slots compared"))
    differing = models.IntegerField(_("rows that differ"))
    changes = models.JSONField(_("figures as stored and as computed"), default=dict)
    repaired_at = models.DateTimeField(_("repaired"), null=True)

    objects = DayCheckQuerySet.as_manager()

    class Meta:
        verbose_name = _("check of a day")
        verbose_name_plural = _("checks of days")
        constraints = [
            models.UniqueConstraint(fields=["system_key", "start"], name="day_checked_once")
        ]
        indexes = [models.Index(fields=["start", "system_key"], name="day_check")]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d}"


class SystemMonth(Figures):
    """A local month of a system: the sum of its slots."""

    pk = models.CompositePrimaryKey("system_key", "start")
    system_key = models.IntegerField()
    start = models.DateTimeField()

    class Meta:
        verbose_name = _("month of a system")
        verbose_name_plural = _("months of systems")


class RecordingImport(models.Model):
    """A file of recorded readings that somebody brought to a page, and what became of it.

    `stored_as` is its name in the storage "recordings", as long as it is kept there. `layout` says
    what its columns mean and `report` what was found in it, as JSON (`imports.kept`). `language` is
    that of who began it, for what workers have to say. `changed_at`: since when it is in its state;
    of one that is over, when a worker took it up.
    """

    class State(models.TextChoices):
        CHOSEN = "chosen", _("not begun")
        BEGUN = "begun", _("at work")
        DONE = "done", _("done")
        REFUSED = "refused", _("nothing stored")
        CANCELLED = "cancelled", _("cancelled")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"))
    changed_at = models.DateTimeField(_("changed"))
    system = models.ForeignKey(
        System, on_delete=models.CASCADE, related_name="+", verbose_name=_("system")
    )
    by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", verbose_name=_("person")
    )
    file_name = models.CharField(_("file"), max_length=200)
    stored_as = models.CharField(_("stored as"), max_length=80, blank=True)
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.CHOSEN)
    layout = models.JSONField(_("layout"), null=True)
    skip_bad = models.BooleanField(_("bad lines are left out"), default=False)
    language = models.CharField(_("language"), max_length=5, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    report = models.JSONField(_("report"), null=True)
    message = models.ForeignKey(
        OutboxMessage,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("outgoing message"),
    )

    objects = OfSystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("import of readings")
        verbose_name_plural = _("imports of readings")
        indexes = [models.Index(fields=["system", "-created_at"], name="import_of_system")]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_at_work(self) -> bool:
        return self.state == self.State.BEGUN

    @property
    def is_mappable(self) -> bool:
        """Whether it can still be said what its columns mean."""
        return bool(self.stored_as) and self.state in (self.State.CHOSEN, self.State.REFUSED)
