"""What pages of lower apps show of a cluster's or a pool's flexibility."""

from typing import Any

from django import template

from gridx import clock
from gridx.pages.appliance import emitter_or_none
from gridx.pages.groups import constrain_url, short_of
from gridx.pages.lines import group_url
from inventory.models import Cluster, SystemPool

register = template.Library()


@register.inclusion_tag("pages/_group_card.html", takes_context=True)
def group_flexibility(context: dict[str, Any], group: Cluster | SystemPool) -> dict[str, Any]:
    """A card: all members together, and the ways to what is asked of them."""
    short = short_of(group, now=clock.now())
    is_emitter = emitter_or_none(context["request"].user) is not None
    return {
        "short": short,
        "url": group_url(group),
        "constrain_url": constrain_url(group) if is_emitter and short.count else "",
    }
