"""What is to be computed, and what never again."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Cause(models.IntegerChoices):
    """Why slots are computed again; bits, joined by OR."""

    READINGS = 1, _("readings arrived late or were corrected")
    IMPORT = 2, _("recorded history was imported")
    REBUILD = 4, _("it was computed anew from its readings")
    FOLLOWING = 8, _("a counter's earlier readings changed")
    CORRECTION = 16, _("what is said of an appliance was corrected")


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
