"""A filter for refused messages; `inventory.words` does the work."""

from django import template

from inventory import words
from inventory.models import GatewayFault

register = template.Library()


@register.filter
def in_words(fault: GatewayFault) -> words.FaultInWords:
    """The refusal in words: `.reason`, `.topic`, `.appliance`, `.at`."""
    return words.fault_in_words(fault)
