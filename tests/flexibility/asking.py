"""What tests of the API do again and again."""

from datetime import datetime

from rest_framework.test import APIClient

from accounts.models import User
from inventory.models import Appliance
from measurements.models import LatestReading


def as_(user: User) -> APIClient:
    """A client that a person uses."""
    client = APIClient()
    client.force_authenticate(user)
    return client


def read(client: APIClient, path: str):
    """What is at an address below `/api/`."""
    answer = client.get(f"/api/{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def refused(answer, status: int = 422) -> list[str]:
    """The details of a refusal."""
    assert answer.status_code == status, answer.content
    return answer.json()["details"]


def wire(at: datetime) -> str:
    """An instant as the wire has it."""
    return at.isoformat().replace("+00:00", "Z")


def reading(appliance: Appliance, at: datetime, **quantities) -> None:
    """The newest reading of an appliance."""
    LatestReading.objects.create(
        system_key=appliance.system.key,
        appliance_key=appliance.key,
        at=at,
        power_at=at,
        **quantities,
    )
