"""What all of the API's objects have in common: their names, and what is left out."""

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


class ErrorSerializer(serializers.Serializer):
    """Every error of the API but those of `/oauth/token`."""

    message = serializers.CharField()
    details = serializers.ListField(child=serializers.CharField(), required=False)
