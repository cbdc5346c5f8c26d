"""What an address of the wire API names, and that a body may repeat it, but not contradict it."""

from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts.wire import StrictMixin
from inventory.models import Appliance, Cluster, System, SystemPool

_TARGET_NAMES: dict[type[Model], str] = {
    Appliance: "applianceID",
    Cluster: "clusterID",
    SystemPool: "systemPoolID",
    System: "systemID",
}


def target_of(row: Model) -> dict[str, UUID]:
    """What an address names, by the name that the wire gives to its kind."""
    return {_TARGET_NAMES[type(row)]: row.pk}


class TargetedMixin(StrictMixin):
    """Of what is set on something that the address names: a body may repeat that, no more.

    Needs `target` (`target_of`) in the context, where something was sent; and there its `id`, where
    the address names that, too.
    """

    def to_internal_value(self, data: Any) -> Any:
        sent = super().to_internal_value(data)
        for name in sorted({*_TARGET_NAMES.values(), *self.context["target"]}):
            # Of what is only read nothing is kept: it is looked at as it was sent.
            if name in self.fields and data.get(name) is not None:
                self._require_named(name, data[name])
        return sent

    def _require_named(self, name: str, value: Any) -> None:
        try:
            identity = self.fields[name].to_internal_value(value)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({name: error.detail}) from error
        if self.context["target"].get(name) != identity:
            raise serializers.ValidationError({name: [_("The address names another one.")]})
