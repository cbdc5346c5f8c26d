"""Where the shares of limits come from: the cluster or the system whose sum is limited."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import User
from flexibility import words
from flexibility.models import Constraint, SharedLimit
from flexibility.queries import Span
from flexibility.resolver import EmitterKind
from flexibility.sentences import Side, asked
from inventory.models import Cluster, System

# Longer names would not fit beside a bar.
MOST_LETTERS = 12


@dataclass(frozen=True, slots=True)
class Source:
    """The limit that a constraint is a share of: of whom (name and page), and of which dimming."""

    name: str
    url: str
    dimming_url: str

    @property
    def lane(self) -> str:
        """What it is called beside a bar."""
        if self.dimming_url:
            return _("dimming")
        is_long = len(self.name) > MOST_LETTERS
        return f"{self.name[: MOST_LETTERS - 1].rstrip()}…" if is_long else self.name


def sources_of(ids: Collection[UUID | str], user: User) -> Mapping[str, Source]:
    """By constraint (id) the source of those that are shares, as far as the user sees it."""
    if not ids:
        return {}
    rows = Constraint.objects.filter(pk__in=ids, limit__isnull=False)
    limits = dict(rows.values_list("pk", "limit"))
    if not limits:
        return {}
    visible = SharedLimit.objects.visible_to(user).select_related("cluster", "system")
    known = {one.pk: source_of(one) for one in visible.filter(pk__in=limits.values())}
    return {str(pk): known[limit] for pk, limit in limits.items() if limit in known}


def shares_in(spans: Iterable[Span]) -> set[str]:
    """The ids of the shares of limits that had a say in any of these spans."""
    return {
        one["id"]
        for span in spans
        for one in span.inputs
        if one["emitter"] == EmitterKind.CLUSTER_LIMIT
    }


def title_of(
    kind: str, one: Mapping[str, Any] | Constraint, side: Side, source: Source | None = None
) -> str:
    """ "The fleet manager: at most 11 kW", "Share of the limit of Depot: at most 4 kW"."""
    who = str(words.EMITTERS[kind])
    if source is not None and source.dimming_url:
        who = _("share of the dimming")
    elif source is not None:
        who = _("share of the limit of %(name)s") % {"name": source.name}
    said = f"{who}: {asked(one, side)}"
    return said[:1].upper() + said[1:]


def source_of(limit: SharedLimit) -> Source:
    """Whose sum it limits, and which dimming it came with."""
    target: Cluster | System = limit.target
    return Source(
        name=target.name,
        url=(
            reverse("cluster_flexibility", args=[target.pk])
            if isinstance(target, Cluster)
            else reverse("system", args=[target.pk])
        ),
        dimming_url=reverse("dimming", args=[limit.dimming_id]) if limit.dimming_id else "",
    )
