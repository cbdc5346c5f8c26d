"""A page, or the part of it that htmx asks for, from the same address and the same context."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers


def render_page_or_part(
    request: HttpRequest, page: str, part: str, context: dict[str, Any], *, target: str
) -> HttpResponse:
    """Render the template `page`; or `part`, which it includes, where htmx fills `target` (an id).

    The answers differ by htmx's headers and say so, or a browser that goes back would show the
    part that it kept in place of the page.
    """
    is_part = bool(request.htmx) and request.htmx.target == target
    response = render(request, part if is_part else page, context)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
