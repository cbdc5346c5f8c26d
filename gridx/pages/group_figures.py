"""What a figure of a pool or a cluster is made of: its systems, or its appliances. Each leads on.

A pool's figures are sums of its systems', and so is each of a cluster that its appliances measure.
What flowed in a cluster from where to where is worked out slot by slot from all of them together:
of such figures its page tells the rule, the terms, and what each appliance measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from accounts.fragments import render_page_or_part
from accounts.paging import page_of
from gridx import clock
from gridx.pages.figure_words import (
    appliance_day_url,
    figure_frame,
    figure_url,
    formula_words,
    rule_sentence,
    signs,
)
from gridx.pages.figures import Line, lines_of_parts
from gridx.pages.history import read_history
from gridx.pages.shown import Shown, Zoom, shown
from gridx.pages.visible import visible_cluster, visible_pool
from inventory.kinds import METERS, ROLES, Role, role_of
from inventory.models import Appliance, Cluster, SystemPool
from measurements.amounts import Floats, share_of, sum_known
from measurements.clusters import appliances_within, history_told, past_of_cluster
from measurements.contributions import Contribution, contributions_to
from measurements.coverage import seconds_of_each
from measurements.derivation import MEASURED, NAMES, Formula, PartOf, Rule, derived_mwh, formula_of
from measurements.flows import CONSUMERS
from measurements.formats import number
from measurements.history import DEVICE_ENERGIES, DEVICE_QUALITY, DevicePast
from measurements.queries import History
from measurements.words import flags_in_words

SORTS = ("-energy", "energy", "name", "-name")


@dataclass(frozen=True, slots=True)
class Member:
    """A system or an appliance: what it adds to the figure, or what it took and gave (mWh); how
    well it was seen (0–1), flags. Without `url` nothing tells more of the period."""

    name: str
    note: str
    url: str
    amounts: tuple[int | None, ...]
    seen: float | None
    flags: str


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to tell of a figure.

    `is_sum`: the members' only amounts add up to it. `terms` are sign, name, value (mWh) and
    address of what adds up to it otherwise; `lines` the parts of a longer period.
    """

    history: History
    members: list[Member]
    is_sum: bool
    sentences: list[str]
    formula: str = ""
    terms: Sequence[tuple] = ()
    lines: Sequence[Line] = ()


@login_required
@never_cache
@gzip_page
@require_GET
def pool_figure(request: HttpRequest, pool_id: UUID, name: str) -> HttpResponse:
    """A pool's figure of the period that the address says, by its systems."""
    return _show(request, visible_pool(request, pool_id), name, _of_pool)


@login_required
@never_cache
@gzip_page
@require_GET
def cluster_figure(request: HttpRequest, cluster_id: UUID, name: str) -> HttpResponse:
    """The same of a cluster, by its appliances."""
    return _show(request, visible_cluster(request, cluster_id), name, _of_cluster)


def _show(
    request: HttpRequest, group: Cluster | SystemPool, name: str, read: Callable[..., Found]
) -> HttpResponse:
    now = clock.now()
    period = shown(
        resolution=request.GET.get("resolution"),
        day=request.GET.get("date"),
        zone=group.zone,
        now=now,
    )
    found = read(group, name, period, now=now)
    sort = request.GET.get("sort")
    sort = sort if sort in SORTS and (found.is_sum or "name" in sort) else ""
    sort = sort or ("-energy" if found.is_sum else "name")
    context = figure_frame(group, name, period, found.history.total) | {
        "group": group,
        "is_cluster": isinstance(group, Cluster),
        "found": found,
        "energy_url": _energy_url(group, period),
        "summed": sum_known(member.amounts[0] for member in found.members),
        "page": page_of(_sorted(found.members, sort), request.GET.get("page")),
        "sort": sort,
    }
    return render_page_or_part(
        request,
        "pages/group_figure.html",
        "pages/_group_figure_members.html",
        context,
        target="members",
    )


def _energy_url(group: Cluster | SystemPool, period: Shown) -> str:
    page = "cluster_energy" if isinstance(group, Cluster) else "pool_energy"
    return f"{reverse(page, args=[group.pk])}?{period.query}"


def _sorted(members: Sequence[Member], sort: str) -> list[Member]:
    """By name, or by energy with those that make no statement at the end."""
    by_name = sorted(members, key=lambda one: one.name.casefold())
    if sort in ("name", "-name"):
        return by_name if sort == "name" else by_name[::-1]
    sign = -1 if sort == "-energy" else 1
    return sorted(by_name, key=lambda one: (one.amounts[0] is None, sign * (one.amounts[0] or 0)))


# A pool: its systems -----------------------------------------------------------------------------


def _of_pool(pool: SystemPool, name: str, period: Shown, *, now) -> Found:
    from_at, until_at = period.span
    given = contributions_to(
        pool=pool, name=name, from_at=from_at, until_at=until_at, resolution=period.parts
    )
    systems = list(pool.systems.only("key", "name", "time_zone"))
    to_see_s = seconds_of_each(period.span, systems=[one.key for one in systems], now=now)
    nothing = Contribution(None, 0, 0)
    members = []
    for system in systems:
        own = given.get(system.key, nothing)
        members.append(
            Member(
                system.name,
                "" if system.time_zone == pool.time_zone else system.time_zone,
                figure_url(system, name, period),
                (own.mwh,),
                share_of(own.seen_s, sum(to_see_s.get(system.key, {}).values())),
                flags_in_words(own.flags),
            )
        )
    sentences = [
        ngettext(
            "The sum of what %(n)s system tells.",
            "The sum of what %(n)s systems tell.",
            len(members),
        )
        % {"n": number(len(members), 0)}
    ]
    if any(member.note for member in members):
        sentences.append(
            _(
                "What counts are the days of %(zone)s. The pages of systems in other time zones "
                "tell of their own days."
            )
            % {"zone": pool.time_zone}
        )
    return Found(read_history(pool, period, now=now), members, True, sentences)


# A cluster: its appliances -----------------------------------------------------------------------


def _of_cluster(cluster: Cluster, name: str, period: Shown, *, now) -> Found:
    past = past_of_cluster(
        cluster=cluster,
        from_at=period.span.from_at,
        until_at=period.span.until_at,
        resolution=period.parts,
        kinds=[*ROLES],
        device_columns=(*DEVICE_ENERGIES, *DEVICE_QUALITY),
    )
    history = history_told(past, cluster=cluster, now=now)
    appliances = [one for one in appliances_within(cluster) if role_of(one.kind) is not Role.NONE]
    pasts = {one.appliance.key: one for one in past.devices}
    to_see_s = seconds_of_each(period.span, systems=[cluster.system.key], now=now)
    of_system = to_see_s.get(cluster.system.key, {})
    sides = _sides(name, {role_of(one.kind) for one in appliances})
    members = [
        _member(cluster, one, pasts.get(one.key), sides, period, of_system.get(one.key, 0))
        for one in appliances
        if not sides or role_of(one.kind) in sides
    ]
    lines = [] if period.zoom is Zoom.DAY else lines_of_parts(cluster, name, history, period, now)
    if sides:
        sentence = _sentence(name, formula_of(name, {}, ()), appliances)
        return Found(history, members, True, [sentence], lines=lines)
    told = _derived(cluster, name, period, history, appliances, pasts)
    return Found(history, members, False, *told, lines)


def _sides(name: str, roles: set[Role]) -> dict[Role, str]:
    """Of whom the figure is the sum, and of which of their two energies; nothing where it follows
    from others."""
    if name in ("consumption", "unmetered") and not roles & METERS:
        return dict(MEASURED[one] for one in CONSUMERS if one in MEASURED)
    # Where the grid's meter was not read, it follows from the household's.
    if name not in MEASURED or (name in ("import", "export") and Role.HOUSE in roles):
        return {}
    return dict([MEASURED[name]])


def _member(
    cluster: Cluster,
    appliance: Appliance,
    past: DevicePast | None,
    sides: dict[Role, str],
    period: Shown,
    whole_s: int,
) -> Member:
    names = [sides[role_of(appliance.kind)]] if sides else DEVICE_ENERGIES
    is_day = period.zoom is Zoom.DAY
    return Member(
        appliance.name,
        appliance.get_kind_display(),
        appliance_day_url(cluster.system, appliance, period.day) if is_day else "",
        tuple(None if past is None else _sum(past.columns[one]) for one in names),
        share_of(0 if past is None else _sum(past.columns["seen_s"]) or 0, whole_s),
        "" if past is None else flags_in_words(_union(past.columns["flags"])),
    )


def _sum(column: Floats) -> int | None:
    return None if np.isnan(column).all() else int(np.nansum(column))


def _union(column: Floats) -> int:
    return int(np.bitwise_or.reduce(column.astype(np.int64), initial=0))


def _sentence(name: str, formula: Formula, appliances: Sequence[Appliance]) -> str:
    """The rule of a figure; of a measured one with those that measure it."""
    if formula.rule is not Rule.MEASURED:
        return rule_sentence(formula)
    names = [one.name for one in appliances if role_of(one.kind) is MEASURED[name][0]]
    if not names:
        return _("No appliance of this cluster measures it.")
    return rule_sentence(formula, names)


def _derived(
    cluster: Cluster,
    name: str,
    period: Shown,
    history: History,
    appliances: Sequence[Appliance],
    pasts: dict[int, DevicePast],
) -> tuple[list[str], str, list[tuple]]:
    """The rule of a figure in sentences, and its formula and terms where these add up to it."""
    figures = {one: history.total and history.total[f"{one}_mwh"] for one in (*NAMES, "residual")}
    parts = [
        PartOf(role_of(one.kind), *(_sum(pasts[one.key].columns[side]) for side in DEVICE_ENERGIES))
        for one in appliances
        if one.key in pasts
    ]
    formula = formula_of(name, figures, parts)
    sentences = [_sentence(name, formula, appliances)]
    # A bound holds in each slot, and not for their sums.
    if formula.least is not None or formula.most:
        return sentences, "", []
    if derived_mwh(name, figures, parts) != figures[name]:
        sentences.append(
            _(
                "In a part of this time a meter was not read: then another rule holds, or nothing "
                "is known. Sums of the whole period do not add up to this figure."
            )
        )
        return sentences, "", []
    terms = [
        (
            sign,
            term.name,
            figures[term.name],
            figure_url(cluster, term.name, period) if term.name in NAMES else "",
        )
        for sign, term in zip(signs(formula.terms), formula.terms, strict=True)
    ]
    return sentences, formula_words(name, formula), terms
