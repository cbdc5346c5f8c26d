"""What is on record of days that were over: changes, imports, checks."""

from typing import Self

from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _


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

    `marked_at`: that of the import's marks, the latest of several that make the day together. What
    they change of the day afterwards, is still the same history, of which nobody has relied on a
    part. Kept for as long as marks may wait.
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

    `slots` of appliances were compared; `differing` rows were other than stored. `changes` as
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
