"""The pages that say what went wrong. They ask nobody anything: neither who is there nor for data.

Behind an ASGI server Django makes them in threads of asyncio's executor. No request begins or ends
there, so that a connection to the database would be kept for ever, and used for ever once it broke.
"""

import logging

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what cannot be read."""
    return _page(400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what is for others to do."""
    return _page(403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to an address of which there is nothing, or nothing in sight."""
    return _page(404)


def server_error(request: HttpRequest) -> HttpResponse:
    """The answer where something broke that nobody expected."""
    return _page(500)


def _page(status: int) -> HttpResponse:
    """Without the request, context processors add nothing to it."""
    try:
        return HttpResponse(render_to_string(f"{status}.html"), status=status)
    except Exception:
        # Django answers a 500 then, and logs nothing but the address.
        logger.exception("The page of error %d cannot be made", status)
        raise
