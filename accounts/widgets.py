"""Widgets of forms."""

from django import forms


class DayInput(forms.DateInput):
    """A browser's own choice of a day, which takes ISO 8601 whatever the language."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")
