"""How the API reads what it is sent, and answers: JSON by orjson, pages of bare arrays."""

from urllib.parse import urlencode

import orjson
from django.core.paginator import Paginator
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

PER_PAGE_MAX = 1000


class NumbersParser(JSONParser):
    """Takes `NaN` too: no JSON, but Python's clients write it, and its field says what is wrong."""

    strict = False


class OrjsonRenderer(BaseRenderer):
    """JSON; the standard library's encoder is ten times slower on a day of measurements.

    Datetimes may stay what they are: they are written as RFC 3339 in UTC with a `Z`.
    """

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data, accepted_media_type=None, renderer_context=None) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z)


class Guarded:
    """A parser in front of which what strangers send is weighed.

    The framework's own read on without a limit, and fail at what is nested a thousand times.
    Raises RequestDataTooBig above DATA_UPLOAD_MAX_MEMORY_SIZE, and ParseError.
    """

    def __init__(self, parser) -> None:
        self._parser = parser
        self.media_type = parser.media_type

    def parse(self, stream, media_type=None, parser_context=None):
        _ = parser_context["request"].body  # whoever reads it is told when it is too long
        try:
            return self._parser.parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("This is nested too deeply.") from error


class FirstUnlessAskedOtherwise(BaseContentNegotiation):
    """The view's first format, unless the client names another of the view's by its exact type.

    Clients of the wire API send `*/*`, `application/json`, `application/vnd.gridx.v2+json` or
    nothing, and expect JSON each time; none of them knows what to do with a 406.
    """

    def select_parser(self, request, parsers):
        content_type = request.content_type.partition(";")[0].strip().lower()
        for parser in parsers:
            if parser.media_type == content_type:
                return Guarded(parser)
        return None

    def select_renderer(self, request, renderers, format_suffix=None):
        asked = {
            part.partition(";")[0].strip().lower()
            for part in request.headers.get("accept", "").split(",")
        }
        for renderer in renderers[1:]:
            if renderer.media_type in asked and renderers[0].media_type not in asked:
                return renderer, renderer.media_type
        return renderers[0], renderers[0].media_type


class WirePagination(BasePagination):
    """`page` (from 1) and `per_page` (20); a bare array, with `Link` and `X-Total-Count` headers.

    A page behind the last is an empty array, so that a client may count up until there is nothing
    more. What is no page is refused with 422.
    """

    def paginate_queryset(self, queryset, request, view=None) -> list:
        number = self._number(request, "page", default=1, greatest=None)
        per_page = self._number(request, "per_page", default=20, greatest=PER_PAGE_MAX)
        paginator = Paginator(queryset, per_page)
        self.request = request
        self.total = paginator.count
        self.number, self.per_page, self.last = number, per_page, paginator.num_pages
        return list(paginator.page(number)) if number <= paginator.num_pages else []

    def get_paginated_response(self, data) -> Response:
        return Response(data, headers={"X-Total-Count": str(self.total), "Link": self._links()})

    def get_schema_operation_parameters(self, view) -> list[dict]:
        return [
            {
                "name": "page",
                "in": "query",
                "required": False,
                "description": "Which page, from 1.",
                "schema": {"type": "integer", "minimum": 1, "default": 1},
            },
            {
                "name": "per_page",
                "in": "query",
                "required": False,
                "description": "How many on a page.",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": PER_PAGE_MAX,
                    "default": 20,
                },
            },
        ]

    def get_paginated_response_schema(self, schema: dict) -> dict:
        return schema

    @staticmethod
    def _number(request, name: str, *, default: int, greatest: int | None) -> int:
        text = request.query_params.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 18) or int(text) < 1:
            raise ValidationError({name: ["must be a whole number from 1"]})
        if greatest is not None and int(text) > greatest:
            raise ValidationError({name: [f"is at most {greatest}"]})
        return int(text)

    def _links(self) -> str:
        pages = {"first": 1, "last": self.last}
        if self.number > 1:
            pages["prev"] = min(self.number - 1, self.last)
        if self.number < self.last:
            pages["next"] = self.number + 1
        return ", ".join(f'<{self._address(page)}>; rel="{rel}"' for rel, page in pages.items())

    def _address(self, page: int) -> str:
        query = [
            (key, value)
            for key, values in self.request.query_params.lists()
            for value in values
            if key not in {"page", "per_page"}
        ]
        query += [("page", page), ("per_page", self.per_page)]
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(query)}"
