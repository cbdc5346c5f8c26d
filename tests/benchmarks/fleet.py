"""Systems with a gateway each, and who they are for those that send in their name."""

from accounts.access import Role
from accounts.models import Account, User
from gridx import clock
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, System
from inventory.operations import register_gateway
from tests.benchmarks.senders import LOCAL_IDS, SignIn


def make_fleet(count: int) -> tuple[User, list[SignIn]]:
    """So many systems of five appliances with a gateway each, and a user who sees them."""
    account = Account.objects.create(name=f"Fleet of {count}")
    user = User.objects.create(
        email=f"fleet-{count}@benchmark.example", account=account, role=Role.FLEET_MANAGER
    )
    systems = System.objects.bulk_create(
        System(account=account, name=f"System {number}") for number in range(count)
    )
    signs_in, appliances = [], []
    for number, system in enumerate(systems):
        serial = f"FLEET-{count}-{number:05}"
        gateway, secret = register_gateway(system=system, serial=serial, by=None, now=clock.now())
        signs_in.append(SignIn(serial, secret))
        appliances += [
            Appliance(
                system=system,
                gateway=gateway,
                local_id=local_id,
                kind=ApplianceKind.BATTERY,
                name=local_id,
                min_power_w=-5000,
                max_power_w=5000,
            )
            for local_id in LOCAL_IDS
        ]
    Appliance.objects.bulk_create(appliances)
    return user, signs_in
