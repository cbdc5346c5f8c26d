"""A page, or the part of it that htmx asks for, from the same address and the same context."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers


def render_page_or_part(
    request: HttpRequest, page: str, part: str, context: dict[str, Any], *, target: str
) -> HttpResponse:
    """Render the template `page`; or `part`, which it includes, where htmx fills `target` (an id).

    `is_part` in the context says which, so that a part can bring along what stands elsewhere on
    the page. The answers differ by htmx's headers and say so, or a browser that goes back would
    show the part that it kept in place of the page.
    """
    asked = request.htmx
    is_part = bool(asked) and asked.target == target and not asked.history_restore_request
    response = render(request, part if is_part else page, {**context, "is_part": is_part})
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
