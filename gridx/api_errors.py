"""The one shape of the API's errors: `{"message": …, "details": [...]}`.

Clients of the wire API raise when `message` is missing, or `details` of a 422. Anonymous is 403
(clients sign in again on it), out of sight 404, bad JSON 400, too much of it 413, and what does not
fit 422, with details that begin with the name of the field.
"""

from collections.abc import Iterator

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from gridx import error_pages
from gridx.api_formats import OrjsonRenderer


class TooLarge(APIException):
    """The body of a request is longer than is read."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE

    def __init__(self) -> None:
        super().__init__(f"At most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes are read.")


def answer_exception(exc: Exception, context: dict) -> Response | None:
    """The answer to what a view of the API raised; None (a 500) for what nobody expected."""
    if isinstance(exc, SuspiciousOperation):
        exc = _in_words(exc)
    response = exception_handler(exc, context)
    if response is None:
        return None
    # An error is JSON even where a table was asked for.
    renderer = OrjsonRenderer()
    request = context["request"]
    request.accepted_renderer, request.accepted_media_type = renderer, renderer.media_type
    if isinstance(exc, ValidationError):
        response.status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
        response.data = {
            "message": "The request does not fit.",
            "details": list(_sentences(exc.detail)),
        }
    elif isinstance(exc, Http404):
        response.data = {"message": "Not found."}
    else:
        response.data = {"message": str(response.data["detail"])}
    return response


def _in_words(exc: SuspiciousOperation) -> APIException:
    """What Django would answer with a page."""
    if isinstance(exc, RequestDataTooBig):
        return TooLarge()
    return ParseError("The request cannot be read.")


def _sentences(detail, field: str = "") -> Iterator[str]:
    """`field: what is wrong`, for nested fields too (`timeframes.0.from: …`)."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            inner_field = field if name == "non_field_errors" else f"{field}.{name}".strip(".")
            yield from _sentences(inner, inner_field)
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = not isinstance(inner, ErrorDetail)
            yield from _sentences(inner, f"{field}.{position}".strip(".") if nested else field)
    else:
        said = f"{field}: {detail}" if field else str(detail)
        # Some repeat what was sent, and JSON can send what no answer can hold: half a character.
        yield said.encode("utf-8", "replace").decode()


@csrf_exempt
def not_found(request: HttpRequest) -> HttpResponse:
    """The answer to every address below `/api` that is none of it."""
    return _said(404, f"There is no {request.path}.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what is refused before any view sees it: the page, or the API's body."""
    if request.path.startswith("/api/"):
        return _said(400, "The request cannot be read.")
    return error_pages.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """The answer where something broke that nobody expected: the page, or the API's body."""
    if request.path.startswith("/api/"):
        return _said(500, "Something broke on our side. It is logged.")
    return error_pages.server_error(request)


def _said(status: int, message: str) -> HttpResponse:
    body = orjson.dumps({"message": message})
    return HttpResponse(body, status=status, content_type="application/json")
