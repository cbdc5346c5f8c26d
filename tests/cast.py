"""The small cast of people and sites that the tests share.

Operator AG is the operator's account; North is a region below it, South its sibling; the Meyers
are customers of North, the Schmidts of South. Mara Meyer lives at Lindenweg 12.
"""

from dataclasses import dataclass
from functools import cache

from django.contrib.auth.hashers import make_password

from accounts.access import Role
from accounts.models import Account, User
from inventory.kinds import ApplianceKind
from inventory.models import Appliance, Gateway, System, SystemAssignment, SystemPool

PASSWORD = "correct horse battery"


@dataclass
class Cast:
    operator: Account
    north: Account
    south: Account
    meyers: Account
    schmidts: Account
    admin: User
    fleet: User
    installer: User
    viewer: User
    mara: User
    schmidt: User
    south_admin: User
    grid_operator: User
    staff: User
    lindenweg: System
    hafenstrasse: System
    gateway: Gateway
    other_gateway: Gateway
    grid_meter: Appliance
    pv: Appliance
    battery: Appliance
    evcs: Appliance
    other_meter: Appliance
    pool: SystemPool


def _person(email: str, account: Account | None, role: Role, **fields) -> User:
    user = User(email=email, account=account, role=role, **fields)
    # The hash of the password is made once: hashing is slow on purpose.
    user.password = _password_hash()
    user.save()
    return user


@cache
def _password_hash() -> str:
    return make_password(PASSWORD)


def make_cast() -> Cast:
    """The cast, saved to the database."""
    operator = Account.objects.create(name="Operator AG")
    north = Account.objects.create(name="North", parent=operator)
    south = Account.objects.create(name="South", parent=operator)
    customer = Account.Kind.CUSTOMER
    meyers = Account.objects.create(name="Family Meyer", parent=north, kind=customer)
    schmidts = Account.objects.create(name="Family Schmidt", parent=south, kind=customer)
    lindenweg = System.objects.create(
        account=meyers, name="Lindenweg 12", city="Aachen", latitude=50.78, longitude=6.08
    )
    hafenstrasse = System.objects.create(account=schmidts, name="Hafenstraße 3")
    gateway = Gateway.objects.create(system=lindenweg, serial="GX-0001")
    other_gateway = Gateway.objects.create(system=hafenstrasse, serial="GX-0002")

    def appliance(local_id: str, kind: ApplianceKind, name: str, **fields) -> Appliance:
        return Appliance.objects.create(
            system=lindenweg, gateway=gateway, local_id=local_id, kind=kind, name=name, **fields
        )

    grid_operator = _person("grid@operator.example", south, Role.GRID_OPERATOR)
    SystemAssignment.objects.create(user=grid_operator, system=lindenweg)
    pool = SystemPool.objects.create(account=north, name="Sun sharers")
    pool.systems.add(lindenweg)
    return Cast(
        operator=operator,
        north=north,
        south=south,
        meyers=meyers,
        schmidts=schmidts,
        admin=_person("admin@operator.example", operator, Role.ACCOUNT_ADMIN),
        fleet=_person("fleet@north.example", north, Role.FLEET_MANAGER),
        installer=_person("installer@north.example", north, Role.INSTALLER),
        viewer=_person("viewer@operator.example", operator, Role.VIEWER),
        mara=_person("mara@meyer.example", meyers, Role.RESIDENT, full_name="Mara Meyer"),
        schmidt=_person("jo@schmidt.example", schmidts, Role.RESIDENT, full_name="Jo Schmidt"),
        south_admin=_person("admin@south.example", south, Role.ACCOUNT_ADMIN),
        grid_operator=grid_operator,
        staff=_person(
            "staff@operator.example", None, Role.VIEWER, is_staff=True, is_superuser=True
        ),
        lindenweg=lindenweg,
        hafenstrasse=hafenstrasse,
        gateway=gateway,
        other_gateway=other_gateway,
        grid_meter=appliance("grid", ApplianceKind.GRID_METER, "Grid meter"),
        pv=appliance("pv", ApplianceKind.PV_INVERTER, "Roof", min_power_w=-9_800, max_power_w=0),
        battery=appliance(
            "battery",
            ApplianceKind.BATTERY,
            "Battery",
            min_power_w=-5_000,
            max_power_w=5_000,
            capacity_wh=10_000,
        ),
        evcs=appliance(
            "evcs", ApplianceKind.EV_CHARGING_STATION, "Car", min_power_w=0, max_power_w=11_000
        ),
        other_meter=Appliance.objects.create(
            system=hafenstrasse,
            gateway=other_gateway,
            local_id="grid",
            kind=ApplianceKind.GRID_METER,
            name="Grid meter",
        ),
        pool=pool,
    )
