"""What the gateway link remembers between two messages."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from inventory.models import Gateway


class SequenceHoles(models.Model):
    """The numbers of a gateway's messages that did not come yet.

    `holes` are pairs [first, last], ascending (see `gridx.gateways.sequences`). A row exists only
    where something is missing.
    """

    gateway = models.OneToOneField(
        Gateway, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    holes = models.JSONField(_("holes"), default=list)

    class Meta:
        verbose_name = _("missing messages of a gateway")
        verbose_name_plural = _("missing messages of gateways")

    def __str__(self) -> str:
        return f"{self.gateway_id}: {len(self.holes)}"
