from datetime import UTC, datetime

import pytest

from gridx import clock


def test_a_clock_starts_where_told_and_runs_as_fast_as_told(monkeypatch):
    simulated = clock.parse("2026-06-01T14:00:00+02:00*60@1000000000")
    monkeypatch.setattr(clock.time, "time", lambda: 1_000_000_010)
    assert simulated.now() == datetime(2026, 6, 1, 12, 10, tzinfo=UTC)


def test_without_a_setting_it_is_the_real_time():
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["noon@1", "2026-06-01T12:00:00@1", "2026-06-01T12:00:00Z*2"])
def test_a_clock_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"GRIDX_CLOCK|isoformat"):
        clock.parse(text)
