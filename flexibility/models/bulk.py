"""One thing done to many appliances: what is to be done, and what became of each."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.access import ScopedQuerySet
from accounts.models import Account, OutboxMessage, User
from flexibility.models.constraints import Constraint, Series
from inventory.models import Appliance


class BulkAction(models.Model):
    """A constraint set on, withdrawn from, or given back to each of many appliances by workers.

    `draft` is what each of them is asked for, as JSON (`bulk.stored`). `account` is that of who
    began it (staff have none): whoever sees that account sees all that they could choose from.
    """

    class Verb(models.TextChoices):
        SET = "set", _("set")
        WITHDRAW = "withdraw", _("withdraw")
        RESTORE = "restore", _("restore")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    verb = models.CharField(_("what"), max_length=12, choices=Verb.choices)
    draft = models.JSONField(_("what is asked for"), default=dict, blank=True)
    by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", verbose_name=_("person")
    )
    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("account")
    )
    emitter_kind = models.CharField(
        _("set by"), max_length=16, choices=Constraint._meta.get_field("emitter_kind").choices
    )
    message = models.ForeignKey(
        OutboxMessage,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("outgoing message"),
    )
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")

    def __str__(self) -> str:
        return f"{self.get_verb_display()} {self.created_at:%Y-%m-%d %H:%M}"


class BulkItem(models.Model):
    """One appliance of a bulk action, and what became of it.

    What is set on it gets the id of the item, so that it can never be set twice.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        REFUSED = "refused", _("refused")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.ForeignKey(
        BulkAction, on_delete=models.CASCADE, related_name="items", verbose_name=_("bulk action")
    )
    appliance = models.ForeignKey(
        Appliance, on_delete=models.CASCADE, related_name="+", verbose_name=_("appliance")
    )
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    reason = models.TextField(_("reason"), blank=True)
    constraint = models.ForeignKey(
        Constraint,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("constraint"),
    )
    series = models.ForeignKey(
        Series, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("series")
    )

    class Meta:
        verbose_name = _("part of a bulk action")
        verbose_name_plural = _("parts of bulk actions")
        indexes = [
            models.Index(
                fields=["action", "id"], name="bulk_item_waiting", condition=Q(state="waiting")
            )
        ]

    def __str__(self) -> str:
        return f"{self.appliance}: {self.get_state_display()}"
