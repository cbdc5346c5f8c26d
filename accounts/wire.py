"""What all of the API's objects have in common: their names, and what is left out."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

_ABBREVIATIONS = {"id": "ID", "ev": "EV"}


def wire_name(name: str) -> str:
    """A field's name on the wire: `created_at` is `createdAt`, `account_id` is `accountID`."""
    first, *rest = name.split("_")
    return first + "".join(_ABBREVIATIONS.get(word, word.capitalize()) for word in rest)


# No docstrings: the API's description would give them to every serializer that has none.
# Fields are declared by our names and travel by the wire's.
class NamedSerializer(serializers.Serializer):
    def get_fields(self) -> dict:
        fields = {}
        for name, field in super().get_fields().items():
            wire = wire_name(name)
            if isinstance(field, serializers.SerializerMethodField):
                field.method_name = field.method_name or f"get_{name}"
            elif wire != name and field.source is None:
                field.source = name
            fields[wire] = field
        return fields


# What has no value is left out: the wire's clients read an absent key, but fail at a null.
class WireSerializer(NamedSerializer):
    def to_representation(self, instance) -> dict:
        everything = super().to_representation(instance)
        return {name: value for name, value in everything.items() if value not in (None, "", {})}


# Of what steers power nothing is passed over in silence: `maxpower` would leave no limit behind.
# The wire's own endpoints do that, as their clients send more than anybody knows.
class StrictMixin:
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                reason = _("There is no such field.")
                raise serializers.ValidationError({name: [reason] for name in unknown})
        return super().to_internal_value(data)


class ErrorSerializer(serializers.Serializer):
    """Every error of the API but those of `/oauth/token`."""

    message = serializers.CharField()
    details = serializers.ListField(child=serializers.CharField(), required=False)
