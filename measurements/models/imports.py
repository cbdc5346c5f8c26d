"""Recorded readings that somebody brings: rows as those of the other apps."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.models import OutboxMessage, User
from inventory.models import OfSystemQuerySet, System


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
