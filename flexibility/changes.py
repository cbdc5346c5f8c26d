"""Forms that change what stands: others may have changed it since the form was opened."""

from hashlib import blake2b

from django import forms
from django.utils.html import format_html
from django.utils.translation import gettext as _

from flexibility.models import Constraint, Series, SharedLimit

# What constraints, series and limits say, each its part of it.
_SAID = (
    *("min_w", "max_w", "phase_max_w", "set_point_w", "closest", "min_wh", "max_wh"),
    *("kinds", "members", "order", "strategy", "dynamic", "priority", "valid_at", "invalid_at"),
    *("parts", "weekdays", "from_at", "until_at", "time_zone"),
)


class ChangeForm(forms.Form):
    """A form that is filled with what stands (`changed`), or is of something new (None)."""

    changed: Constraint | Series | SharedLimit | None = None

    @property
    def is_change(self) -> bool:
        """Whether something that stands is changed."""
        return self.changed is not None

    @property
    def as_of(self) -> str:
        """What stands, in short: it is sent along (`as_of`), hidden, by who has seen it."""
        said = [getattr(self.changed, name, None) for name in _SAID]
        return blake2b(repr(said).encode(), digest_size=8).hexdigest()

    def refuse_outdated(self) -> bool:
        """Whether somebody changed it since the form was opened; then the form says so, once."""
        is_outdated = self.is_change and self.data.get("as_of", self.as_of) != self.as_of
        if is_outdated:
            self.add_error(
                None,
                format_html(
                    _(
                        "Somebody changed it since this form was opened. {open_anew} to see what "
                        "holds now, or save again to put this in its place."
                    ),
                    # Where there is no address, it is that of the page itself.
                    open_anew=format_html('<a href="">{}</a>', _("Open it anew")),
                ),
            )
        return is_outdated
