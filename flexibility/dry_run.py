"""What constraints would do, without setting them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from flexibility import words
from flexibility.emitters import Emitter
from flexibility.limits.balancing import Broken, Moved, redivide
from flexibility.models import Constraint
from flexibility.operations import Draft, Target, set_constraints
from flexibility.queries import Explained, ExplainedSpan, explain, preview
from flexibility.resolver import OutcomeKind
from flexibility.standing import as_pure
from inventory.models import Appliance


@dataclass(frozen=True)
class DryRun:
    """An appliance over the next two days without and with what was asked, and who wins.

    `constraints` tells of each constraint what would become of it, from when on the first of those
    that were asked for takes effect. `moved`: its share of a limit where that would be another
    then; where it alone is asked, everybody's. `broken`: the limits of its system that could not be
    kept any more.
    """

    appliance: Appliance
    before: Sequence[ExplainedSpan]
    after: Sequence[ExplainedSpan]
    constraints: Sequence[Explained]
    moved: Sequence[Moved]
    broken: Sequence[Broken]


def try_constraints(
    *,
    target: Target,
    appliances: Sequence[Appliance],
    drafts: Sequence[Draft],
    emitter: Emitter,
    now: datetime,
) -> list[DryRun]:
    """What these would do to each of the appliances. Raises UnableToConstrain.

    They are set and undone at once, so that whatever would be refused is refused here too.
    """
    with transaction.atomic():
        rows = set_constraints(target=target, drafts=drafts, emitter=emitter, now=now)
        transaction.set_rollback(True)
    previews = list(preview(appliances=appliances, drafts=rows, now=now))
    spans = [span for one in previews for span in (*one.before, *one.after)]
    zones = [one.appliance.system.zone for one in previews for _span in (*one.before, *one.after)]
    limits = redivide(appliances=appliances, drafts=rows, now=now)
    others = {move.appliance for move in limits.moved} if isinstance(target, Appliance) else ()
    explained = iter(explain(spans, zones=zones, drafts=rows))
    found = []
    for one in previews:
        before = [next(explained) for _span in one.before]
        after = [next(explained) for _span in one.after]
        found.append(
            DryRun(
                appliance=one.appliance,
                before=before,
                after=after,
                constraints=_outcomes(after, rows, now),
                moved=[
                    move for move in limits.moved if move.appliance in (one.appliance.pk, *others)
                ],
                broken=[
                    each
                    for each in limits.broken
                    if each.limit.system_id == one.appliance.system_id
                ],
            )
        )
    return found


def _outcomes(
    after: Sequence[ExplainedSpan], rows: Sequence[Constraint], now: datetime
) -> list[Explained]:
    start = max(now, min(row.valid_at for row in rows))
    found: dict[object, Explained] = {}
    for segment in after:
        if segment.span.until_at > start:
            for one in segment.constraints:
                found.setdefault(one.row.pk, one)
    for row in rows:
        found.setdefault(row.pk, _later(row))
    return sorted(found.values(), key=lambda one: -one.row.priority)


def _later(row: Constraint) -> Explained:
    """One that begins after all that is looked at."""
    pure = as_pure(row)
    outcome = {"outcome": OutcomeKind.SCHEDULED.value, "conflicts_with": []}
    parts = {"power": pure.speaks_of_power, "energy": pure.speaks_of_energy}
    outcomes = {part: outcome for part, is_meant in parts.items() if is_meant}
    return Explained(row, outcomes, words.not_begun())
