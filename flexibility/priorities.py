"""How strong something is to be, as a form asks for it: a level with a name, or any number."""

from collections.abc import Sequence

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from measurements.formats import number

NUMBER = "number"


class PriorityForm(forms.Form):
    """A form of something that has a priority; `offer_priorities` says which it may be.

    Bound and valid, `cleaned_data["priority"]` is the number, wherever it was said.
    """

    priority = forms.ChoiceField(label=gettext_lazy("How strong"), widget=forms.RadioSelect)
    priority_number = forms.IntegerField(
        label=gettext_lazy("Priority"),
        required=False,
        widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )

    def offer_priorities(
        self, levels: Sequence[tuple[int, str]], *, least: int, most: int, shown: int
    ) -> None:
        """Offer the levels with a name, and any number up to the ceiling; `shown` comes first."""
        self.most, self._least, self._most = number(most, 0), least, most
        self.fields["priority"].choices = [*levels, (NUMBER, _("Another number"))]
        self.fields["priority_number"].widget.attrs |= {"min": least, "max": most}
        self.initial = {
            "priority": shown if shown in dict(levels) else NUMBER,
            "priority_number": shown,
            **self.initial,
        }

    def clean(self) -> dict:
        cleaned = super().clean()
        chosen = cleaned.get("priority")
        if chosen is not None and chosen != NUMBER:
            # What stands in a field that is not asked for is no mistake.
            self.errors.pop("priority_number", None)
            cleaned["priority"] = int(chosen)
        elif chosen == NUMBER and "priority_number" not in self.errors:
            cleaned["priority"] = cleaned.get("priority_number")
            if cleaned["priority"] is None or not self._is_allowed(cleaned["priority"]):
                reason = _("Give a number from %(least)s to %(most)s, which is your ceiling.")
                values = {"least": number(self._least, 0), "most": self.most}
                self.add_error("priority_number", reason % values)
        return cleaned

    def _is_allowed(self, priority: int) -> bool:
        return self._least <= priority <= self._most
