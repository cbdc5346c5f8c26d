"""What gateways read, as it came."""

from django.db import models
from django.utils.translation import gettext_lazy as _


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

    Of each quantity the latest that was read, with the instant at which it was: so a reading of
    the power alone leaves the known state of charge, and readings may come in any order. `at` is
    the newest of those instants.
    """

    pk = models.CompositePrimaryKey("system_key", "appliance_key")
    system_key = models.IntegerField()
    appliance_key = models.IntegerField()
    at = models.DateTimeField()
    power_at = models.DateTimeField(null=True)
    imported_at = models.DateTimeField(null=True)
    exported_at = models.DateTimeField(null=True)
    soc_at = models.DateTimeField(null=True)
    energy_at = models.DateTimeField(null=True)
    temperature_at = models.DateTimeField(null=True)
    current_l1_at = models.DateTimeField(null=True)
    current_l2_at = models.DateTimeField(null=True)
    current_l3_at = models.DateTimeField(null=True)
    plug_state_at = models.DateTimeField(null=True)

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
