from datetime import timedelta

from gridx.checks import check_measurements, check_production


def test_a_development_installation_has_nothing_to_prove(settings):
    assert check_production(None) == []


def test_production_wants_servers_and_secrets_of_its_own(settings, monkeypatch):
    settings.PRODUCTION = True
    for name in ("GRIDX_SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "NATS_URL", "GRIDX_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    assert [error.id for error in check_production(None)] == ["gridx.E001"] * 5


def test_production_refuses_a_clock_of_its_own(settings, monkeypatch):
    settings.PRODUCTION = True
    for name in ("GRIDX_SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "NATS_URL", "GRIDX_HOSTS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("GRIDX_CLOCK", "2026-06-01T12:00:00Z*60@1")
    assert [error.id for error in check_production(None)] == ["gridx.E003"]


def test_raw_readings_outlive_the_lateness_that_is_allowed(settings):
    settings.RAW_RETENTION = timedelta(days=2)
    assert [error.id for error in check_measurements(None)] == ["gridx.E004"]
