"""Django's admin, given addresses and forms that no page of its would send.

Its fields refuse such values in words, but its widgets and lists ask the database for them again.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError, ProgrammingError, transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

# What fields, PostgreSQL and its driver say of a value that cannot be looked for.
UNSEARCHABLE = (
    ValidationError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    DataError,
    ProgrammingError,
)


def keys_among(values: Iterable[str], model: type[Model]) -> list[str]:
    """Those of the values that a row of the model could have as its key."""
    return [value for value in values if _is_key(value, model)]


def values_among(proposed: Mapping[str, Any], model: type[Model]) -> dict[str, Any]:
    """What an address proposes for a new row, as far as the row's fields can hold it."""
    values = {}
    for field in (*model._meta.fields, *model._meta.many_to_many):
        if field.name in proposed:
            with suppress(ValidationError):
                values[field.name] = field.to_python(proposed[field.name])
    return values


def answer_typing(request: HttpRequest, *, admin_site: AdminSite) -> HttpResponse:
    """The rows that fit what is typed into a field."""
    return _Autocomplete.as_view(admin_site=admin_site)(request)


def _is_key(value: str, model: type[Model]) -> bool:
    try:
        model._meta.pk.to_python(value)
    except ValidationError:
        return False
    return True


class _KeysOnly:
    """Shows what is selected, without what no row can be: the field's error says that."""

    def optgroups(self, name, value, attrs=None):
        return super().optgroups(name, keys_among(value, self.choices.queryset.model), attrs)


class SelectOne(_KeysOnly, AutocompleteSelect):
    """One row, found by typing."""


class SelectSeveral(_KeysOnly, AutocompleteSelectMultiple):
    """Several rows, found by typing."""


class _Autocomplete(AutocompleteJsonView):
    def process_request(self, request: HttpRequest):
        term, model_admin, field, to_field_name = super().process_request(request)
        # The other end of a field is nothing that can be filled in.
        if not field.concrete:
            raise PermissionDenied
        # No text in the database holds a NUL.
        return term.replace("\0", ""), model_admin, field, to_field_name


class CarefulList(ChangeList):
    """A list that answers an address which means nothing as Django does: without what it asked.

    Django looks for that as it makes the query; much shows only when the database is asked.
    """

    def __init__(self, request: HttpRequest, *args, **kwargs) -> None:
        try:
            # What the database refuses spoils no transaction but this one.
            with transaction.atomic():
                super().__init__(request, *args, **kwargs)
        except UNSEARCHABLE as error:
            if set(request.GET) <= {ERROR_FLAG}:
                raise  # nothing was asked, so the mistake is ours
            raise IncorrectLookupParameters(error) from error
