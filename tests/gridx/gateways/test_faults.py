from dataclasses import replace
from datetime import timedelta

import pytest

from gridx.gateways import faults
from gridx.gateways.faults import MERGED_WITHIN, Fault, drop_old_faults, record_faults
from inventory.models import GatewayFault


@pytest.fixture
def fault(cast) -> Fault:
    return Fault(gateway_id=cast.gateway.pk, topic="up/readings", reason="malformed", body=b"{")


def test_equal_faults_are_one_row_with_a_count(fault, now):
    record_faults(faults=[fault, fault], now=now)
    record_faults(faults=[fault], now=now + MERGED_WITHIN - timedelta(seconds=1))
    assert GatewayFault.objects.get().count == 3


def test_a_fault_that_goes_on_says_when_it_happened_last_and_since_when(fault, now):
    times = [now + minutes * timedelta(minutes=1) for minutes in (0, 40, 80, 140)]
    for at in times:
        record_faults(faults=[fault], now=at)
    rows = GatewayFault.objects.order_by("-at").values_list("at", "since", "count")
    assert list(rows) == [(times[3], None, 1), (times[2], times[0], 3)]


def test_a_fault_that_happens_again_is_the_newest(fault, now):
    for minutes, reason in enumerate(["malformed", "invalid", "malformed"]):
        record_faults(faults=[replace(fault, reason=reason)], now=now + timedelta(minutes=minutes))
    reasons = GatewayFault.objects.order_by("-at").values_list("reason", flat=True)
    assert list(reasons) == ["malformed", "invalid"]


def test_only_the_newest_rows_of_a_gateway_are_kept(fault, cast, now, monkeypatch):
    monkeypatch.setattr(faults, "MOST_ROWS", 3)
    other = Fault(gateway_id=cast.other_gateway.pk, topic="up/hello", reason="invalid")
    record_faults(faults=[other], now=now)
    for hour in range(5):
        record_faults(faults=[fault], now=now + timedelta(hours=hour))
    kept = GatewayFault.objects.filter(gateway=cast.gateway).order_by("at")
    assert [row.at for row in kept] == [now + timedelta(hours=hour) for hour in (2, 3, 4)]
    assert GatewayFault.objects.filter(gateway=cast.other_gateway).exists()


def test_a_body_is_kept_as_it_came_up_to_a_length(cast, now):
    body = bytes(range(256)) * 100
    record_faults(
        faults=[Fault(gateway_id=cast.gateway.pk, topic="t" * 99, reason="r" * 99, body=body)],
        now=now,
    )
    row = GatewayFault.objects.get()
    assert bytes(row.body) == body[: faults.MOST_BODY_BYTES]
    assert (len(row.topic), len(row.reason)) == (20, 40)


def test_faults_are_kept_for_seven_days(fault, now):
    record_faults(faults=[fault], now=now)
    assert drop_old_faults(now=now + timedelta(days=7)) == 0
    assert drop_old_faults(now=now + timedelta(days=7, seconds=1)) == 1
