"""What a gateway finds in its network becomes the inventory of its system.

A gateway speaks of its appliances by local ids of its own. What it says creates and updates; it
never deletes, renames what people named, or takes an appliance from another system or gateway.

A local id may be no more than a place, such as an address on a bus. Where a gateway speaks of
another device there, that one is another appliance, and the one before is removed with its history.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from accounts.audit import Verb, save_changes
from inventory.kinds import LONGEST_INTERVAL_S, ApplianceKind
from inventory.models import Appliance, Gateway

MOST_APPLIANCES = 512
GREATEST_POWER_W = 1e9
GREATEST_CAPACITY_WH = 1e12
GREATEST_CURRENT_A = 1e6


class UnableToAdd(models.TextChoices):
    """Why an appliance that a gateway found is not taken into the inventory."""

    UNKNOWN_KIND = "unknown_kind", _("its kind is unknown")
    INVALID_LIMITS = "invalid_limits", _("its nominal limits contradict each other")
    INVALID_INTERVAL = "invalid_interval", _("it is read less often than hourly or too often")
    INVALID_TEXT = "invalid_text", _("a text is too long")
    REMOVED = "removed", _("it was removed from the inventory")
    TOO_MANY = "too_many", _("the gateway has too many appliances")


class Remark(models.TextChoices):
    """What is to be known of an appliance that was accepted."""

    REPLACED = "replaced", _("it took the place of another device, which is removed")
    UNKNOWN_PARENT = "unknown_parent", _("the appliance that it is part of is unknown")


@dataclass(frozen=True, kw_only=True)
class FoundAppliance:
    """An appliance as its gateway describes it. None: the gateway does not say.

    Powers in W in the passive sign convention, the capacity in Wh, the interval in s (1–3600).
    `parent` is the local id of the appliance that this one is part of.
    """

    local_id: str
    kind: str
    interval_s: float
    name: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None
    firmware: str | None = None
    protocol: str | None = None
    parent: str | None = None
    min_power_w: float | None = None
    max_power_w: float | None = None
    max_current_a: float | None = None
    capacity_wh: float | None = None


class IntervalChange(NamedTuple):
    """The interval of readings in s as it was and as it is; there was none of a new appliance."""

    before_s: int | None
    after_s: int


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What became of a hello: each local id is either known or refused.

    `intervals_s`: of the known ones, by key, how often they are read. `replaced`: by the keys of
    those that are removed, the keys of what took their places.
    """

    known: dict[str, UUID]
    refused: dict[str, UnableToAdd]
    remarks: dict[str, Remark]
    intervals_s: dict[int, IntervalChange]
    replaced: dict[int, int]


_KINDS = frozenset(kind.value for kind in ApplianceKind)
# What is copied as it is; the name only when the appliance is made, for people may change it.
_TEXTS = ("manufacturer", "model", "serial_number", "firmware", "protocol")
_NUMBERS = ("min_power_w", "max_power_w", "max_current_a", "capacity_wh")


@transaction.atomic
def apply_hello(
    *,
    gateway: Gateway,
    model: str,
    firmware: str,
    found: Sequence[FoundAppliance],
    came_at: datetime,
    now: datetime,
) -> Discovery:
    """Create and update the gateway's appliances; the same hello twice changes nothing more.

    One that is refused costs its neighbours nothing. An appliance of the gateway's system without
    a gateway (imported, or of a gateway that was replaced) is adopted when local id and kind are
    the same. One in whose place there is another device is removed as of `came_at`, when the
    hello came. Raises Gateway.DoesNotExist when the gateway is gone.
    """
    gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
    gateway.model, gateway.firmware = model[:100], firmware[:100]
    gateway.updated_at = now
    gateway.save(update_fields=["model", "firmware", "updated_at"])

    appliances = (
        Appliance.objects.filter(system=gateway.system_id)
        .filter(models.Q(gateway=gateway) | models.Q(gateway=None) & ~models.Q(local_id=""))
        .order_by(models.F("gateway").desc(nulls_first=True), "created_at")
    )
    # Also those that were replaced: nobody makes appliances without end by it.
    count = sum(appliance.gateway_id == gateway.pk for appliance in appliances)
    present = {appliance.local_id: appliance for appliance in appliances if appliance.local_id}
    known: dict[str, Appliance] = {}
    refused: dict[str, UnableToAdd] = {}
    remarks: dict[str, Remark] = {}
    intervals_s: dict[int, IntervalChange] = {}
    successors: dict[int, int] = {}
    for one in found:
        appliance, replaced = present.get(one.local_id), None
        if appliance is not None and _is_another(one, appliance):
            replaced, appliance = appliance, None
        reason = _why_not(one, appliance)
        if reason is None and appliance is None and count >= MOST_APPLIANCES:
            reason = UnableToAdd.TOO_MANY
        if reason is not None:
            refused[one.local_id] = reason
            continue
        # One without a gateway keeps its local id, and goes on without this device.
        if replaced is not None and replaced.gateway_id is None:
            replaced = None
        if replaced is not None:
            _remove(replaced, gateway, came_at, now)
            remarks[one.local_id] = Remark.REPLACED
        if appliance is None:
            appliance = Appliance(system_id=gateway.system_id, local_id=one.local_id)
            count += 1
        before_s = None if appliance._state.adding else appliance.interval_s
        known[one.local_id] = _write(appliance, one, gateway, now)
        intervals_s[appliance.key] = IntervalChange(before_s, appliance.interval_s)
        if replaced is not None:
            successors[replaced.key] = appliance.key
    remarks |= _connect_parents(found, known, {**present, **known}, now)
    return Discovery(
        known={local_id: appliance.pk for local_id, appliance in known.items()},
        refused=refused,
        remarks=remarks,
        intervals_s=intervals_s,
        replaced=successors,
    )


def _is_another(one: FoundAppliance, appliance: Appliance) -> bool:
    """Whether another device is told of than the one that had this local id.

    What staff corrected makes none: the kind is compared with the one that a gateway told before.
    """
    told_kind = appliance.told_kind
    if not told_kind:
        # Of one that was imported its kind is known; of any other this is the first hello.
        told_kind = appliance.kind if appliance.gateway_id is None else one.kind
    serial_numbers = {one.serial_number, appliance.serial_number} - {None, ""}
    return one.kind != told_kind or len(serial_numbers) > 1


def _remove(appliance: Appliance, gateway: Gateway, came_at: datetime, now: datetime) -> None:
    """Say that it is gone, and since when; its local id is free for what took its place."""
    values = {"local_id": "", "removed_at": appliance.removed_at or came_at}
    account = gateway.system.account
    save_changes(
        target=appliance, values=values, account=account, by=None, now=now, verb=Verb.REMOVED
    )


def _why_not(one: FoundAppliance, appliance: Appliance | None) -> UnableToAdd | None:
    if one.kind not in _KINDS:
        return UnableToAdd.UNKNOWN_KIND
    if not 1 <= one.interval_s <= LONGEST_INTERVAL_S:
        return UnableToAdd.INVALID_INTERVAL
    if not _limits_make_sense(one, appliance):
        return UnableToAdd.INVALID_LIMITS
    for name in ("local_id", "name", *_TEXTS):
        text = getattr(one, name)
        longest = Appliance._meta.get_field(name).max_length
        if text is not None and (len(text) > longest or "\x00" in text):
            return UnableToAdd.INVALID_TEXT
    if appliance is not None and appliance.removed_at is not None:
        return UnableToAdd.REMOVED
    return None


def _limits_make_sense(one: FoundAppliance, appliance: Appliance | None) -> bool:
    def effective(name: str) -> float | None:
        stated = getattr(one, name)
        return getattr(appliance, name, None) if stated is None else stated

    def within(name: str, low: float, high: float) -> bool:
        value = getattr(one, name)
        return value is None or (math.isfinite(value) and low <= value <= high)

    low, high = effective("min_power_w"), effective("max_power_w")
    return (
        within("min_power_w", -GREATEST_POWER_W, GREATEST_POWER_W)
        and within("max_power_w", -GREATEST_POWER_W, GREATEST_POWER_W)
        and within("max_current_a", 0, GREATEST_CURRENT_A)
        and within("capacity_wh", 0, GREATEST_CAPACITY_WH)
        and (low is None or high is None or low <= high)
    )


def _write(appliance: Appliance, one: FoundAppliance, gateway: Gateway, now: datetime) -> Appliance:
    """Save what the gateway says; what it does not say stays as it was known."""
    is_new = appliance._state.adding
    before = None if is_new else _state(appliance)
    appliance.gateway = gateway
    # Told of for the first time, it is of that kind; what staff corrects later stays.
    if not appliance.told_kind:
        appliance.kind = ApplianceKind(one.kind).value
    appliance.told_kind = ApplianceKind(one.kind).value
    appliance.interval_s = math.ceil(one.interval_s)
    for name in (*_TEXTS, *_NUMBERS):
        if getattr(one, name) is not None:
            setattr(appliance, name, getattr(one, name))
    if is_new:
        appliance.name = one.name or one.local_id
        appliance.created_at = now
    if is_new or _state(appliance) != before:
        appliance.save()
    if is_new:
        appliance.refresh_from_db(fields=["key"])
    return appliance


def _state(appliance: Appliance) -> tuple:
    names = ("gateway_id", "kind", "told_kind", "interval_s", *_TEXTS, *_NUMBERS)
    return tuple(getattr(appliance, name) for name in names)


def _connect_parents(
    found: Sequence[FoundAppliance],
    known: dict[str, Appliance],
    all_of_gateway: dict[str, Appliance],
    now: datetime,
) -> dict[str, Remark]:
    """Say what is part of what; a parent that is unknown, or would close a circle, is left out."""
    remarks: dict[str, Remark] = {}
    by_id = {appliance.pk: appliance for appliance in all_of_gateway.values()}
    for one in found:
        child = known.get(one.local_id)
        if child is None or one.parent is None:
            continue
        parent = all_of_gateway.get(one.parent)
        if parent is None or parent.gateway_id != child.gateway_id or _above(child, parent, by_id):
            remarks[one.local_id] = Remark.UNKNOWN_PARENT
        elif child.parent_id != parent.pk:
            child.parent = parent
            child.save(update_fields=["parent", "updated_at"])
    return remarks


def _above(child: Appliance, parent: Appliance, by_id: dict[UUID, Appliance]) -> bool:
    """Whether the child is the parent itself, or somewhere above it."""
    step: Appliance | None = parent
    passed: set[UUID] = set()
    while step is not None and step.pk not in passed:
        if step.pk == child.pk:
            return True
        passed.add(step.pk)
        step = by_id.get(step.parent_id)
    return False
