"""What pages of lower apps show of charging policies."""

from typing import Any

from django import template

from flexibility.policies.standing import stations_of
from gridx.pages.appliance import emitter_or_none
from gridx.pages.charging_words import policy_url
from inventory.models import Cluster, System

register = template.Library()


@register.inclusion_tag("pages/_charging_policy_link.html", takes_context=True)
def charging_policy_link(
    context: dict[str, Any], target: Cluster | System, *, small: bool = False
) -> dict[str, Any]:
    """The way to how all stations of a cluster or a system charge, for who may say so."""
    is_cluster_or_system = isinstance(target, Cluster | System)
    may = is_cluster_or_system and emitter_or_none(context["request"].user) is not None
    return {
        "url": policy_url(target) if may and stations_of(target).exists() else "",
        "is_small": small,
    }
