"""Settings that make no sense are said at the start, with what to do."""

import os

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

# Their tag: a process without pages runs these and no others.
SETTINGS = "settings"


@register(SETTINGS)
def check_production(app_configs, **kwargs) -> list[CheckMessage]:
    """What an installation that calls itself one for production must have."""
    if not settings.PRODUCTION:
        return []
    found = [
        Error(
            f"GRIDX_PRODUCTION is set, but {name} is not.",
            hint="An installation for production has servers and secrets of its own.",
            id="gridx.E001",
        )
        for name in ("GRIDX_SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "NATS_URL", "GRIDX_HOSTS")
        if not os.environ.get(name)
    ]
    if settings.DEBUG:
        found.append(Error("GRIDX_DEBUG is set in production.", id="gridx.E002"))
    if os.environ.get("GRIDX_CLOCK"):
        found.append(
            Error(
                "GRIDX_CLOCK is set in production.",
                hint="Another time than the real one is for simulations only.",
                id="gridx.E003",
            )
        )
    return found


@register(SETTINGS)
def check_measurements(app_configs, **kwargs) -> list[CheckMessage]:
    """Raw readings must outlive the lateness that gateways are allowed."""
    if settings.RAW_RETENTION >= settings.LEAST_RAW_RETENTION:
        return []
    return [
        Error(
            f"GRIDX_RAW_RETENTION_DAYS is less than {settings.LEAST_RAW_RETENTION.days}.",
            hint="Late readings could not be turned into slots any more.",
            id="gridx.E004",
        )
    ]
