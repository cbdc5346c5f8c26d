"""From when until when something is to hold, as a form asks for it."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flexibility.fields import LocalTimeField, placed
from flexibility.sentences import moment

NOW, LATER, UNTIL, KEPT, ENDLESS = "now", "later", "until", "kept", "endless"
MORNING = time(6)
_DAY = timedelta(days=1)


class ValidityForm(forms.Form):
    """A form of something that holds for a while, in local times of the time zone `zone`.

    `kept` are the beginning and the end (None: without one) of what stands and is changed;
    `may_be_endless` says whether it may go without an end.
    """

    begin = forms.ChoiceField(
        label=gettext_lazy("From"), widget=forms.RadioSelect, initial=NOW, required=False
    )
    begin_at = LocalTimeField(label=gettext_lazy("Begins"))
    end = forms.ChoiceField(
        label=gettext_lazy("Until"), widget=forms.RadioSelect, initial="4h", required=False
    )
    end_at = LocalTimeField(label=gettext_lazy("Ends"))

    def __init__(
        self,
        *args,
        zone: ZoneInfo,
        now: datetime,
        kept: tuple[datetime, datetime | None] | None = None,
        may_be_endless: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._zone, self._now, self._kept = zone, now, kept
        begins, ends = [(NOW, _("now")), (LATER, _("later"))], _ends()
        if may_be_endless:
            ends.insert(0, (ENDLESS, _("without an end")))
        if kept is not None:
            begins.insert(0, (KEPT, moment(kept[0], now=now, zone=zone)))
            if kept[1] is not None:
                ends.insert(0, (KEPT, moment(kept[1], now=now, zone=zone)))
        self.fields["begin"].choices, self.fields["end"].choices = begins, ends
        local = now.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        self.initial = {
            "begin": begins[0][0],
            "begin_at": local + timedelta(hours=1),
            "end": ends[0][0] if may_be_endless or kept is not None else "4h",
            "end_at": local + timedelta(hours=5),
            **self.initial,
        }

    def validity(self) -> tuple[datetime | None, datetime | None]:
        """What was asked for, of valid fields: from when (None: now), until when (None: no end).

        The form says what is wrong with it.
        """
        valid_at, start = None, self._now
        if self.cleaned_data.get("begin") == LATER:
            start = valid_at = placed(self, "begin_at", self._zone)
        elif self.cleaned_data.get("begin") == KEPT:
            start = valid_at = self._kept[0]
        return valid_at, start and self._end(max(start, self._now))

    def _end(self, start: datetime) -> datetime | None:
        chosen = self.cleaned_data.get("end")
        tomorrow = start.astimezone(self._zone).date() + _DAY
        if chosen == KEPT:
            return self._kept[1]
        if chosen == ENDLESS:
            return None
        if chosen == "1h":
            return start + timedelta(hours=1)
        if chosen == "midnight":
            return datetime.combine(tomorrow, time(), self._zone).astimezone(UTC)
        if chosen == "morning":
            return datetime.combine(tomorrow, MORNING, self._zone).astimezone(UTC)
        if chosen == UNTIL:
            return placed(self, "end_at", self._zone)
        return start + timedelta(hours=4)


def _ends() -> list[tuple[str, str]]:
    return [
        ("1h", _("1 h")),
        ("4h", _("4 h")),
        ("midnight", _("until midnight")),
        ("morning", _("until tomorrow, 06:00")),
        (UNTIL, _("exactly until")),
    ]
