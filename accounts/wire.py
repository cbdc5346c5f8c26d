"""What all of the API's objects have in common: their names, and what is left out."""

from rest_framework import serializers


def wire_name(name: str) -> str:
    """A field's name on the wire: `created_at` is `createdAt`, `account_id` is `accountID`."""
    first, *rest = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)


class WireSerializer(serializers.Serializer):
    """Fields are declared by our names and travel by the wire's.

    What has no value is left out: the wire's clients read an absent key, but fail at a null.
    """

    def get_fields(self) -> dict:
        fields = {}
        for name, field in super().get_fields().items():
            wire = wire_name(name)
            if wire != name and field.source is None:
                field.source = name
            fields[wire] = field
        return fields

    def to_representation(self, instance) -> dict:
        everything = super().to_representation(instance)
        return {name: value for name, value in everything.items() if value not in (None, "", {})}


class ErrorSerializer(serializers.Serializer):
    """Every error of the API but those of `/oauth/token`."""

    message = serializers.CharField()
    details = serializers.ListField(child=serializers.CharField(), required=False)
