"""What a template cannot work out itself when it draws a `flexibility.bars.Picture`."""

from django import template

from flexibility.bars import Bar, Lane, Picture, Tick
from gridx.pages.timeline import Timeline

register = template.Library()


@register.simple_tag
def lane_name(timeline: Timeline, lane: Lane) -> str:
    """What stands beside a lane."""
    return timeline.entries[lane.bars[0].id].lane


@register.simple_tag
def bar_title(timeline: Timeline, bar: Bar) -> str:
    """A constraint in words."""
    return timeline.entries[bar.id].title


@register.simple_tag
def past_width(picture: Picture) -> str:
    """How wide the past is."""
    return f"{picture.now_x - picture.left:g}"


@register.simple_tag
def axis_x(picture: Picture) -> str:
    """Where the texts of the powers end."""
    return f"{picture.left - 8:g}"


@register.simple_tag
def axis_y(tick: Tick) -> str:
    """The baseline of a power."""
    return f"{tick.at + 4:g}"


@register.simple_tag
def unit_y(picture: Picture) -> str:
    """The baseline of the powers' unit: above the highest of them."""
    return f"{picture.powers[-1].at - 12:g}"


@register.simple_tag
def foot_y(picture: Picture, below: int) -> str:
    """A baseline below the plot."""
    return f"{picture.bottom + below:g}"
