"""What is asked of appliances, what remains of it, and what their gateways do about it.

Powers in W in the passive sign convention, energies in Wh; null is no statement. Constraints end
by being withdrawn, so that the past can be told.
"""

from flexibility.models.bulk import BulkAction, BulkItem
from flexibility.models.constraints import Constraint, Series, not_over
from flexibility.models.dimmings import Dimming, DimmingProof
from flexibility.models.limits import Share, SharedLimit
from flexibility.models.policies import ChargingPolicy, ChargingState
from flexibility.models.resolved import (
    Flexibility,
    GatewaySchedule,
    ResolvedBoundary,
    SystemMark,
)

__all__ = [
    "BulkAction",
    "BulkItem",
    "ChargingPolicy",
    "ChargingState",
    "Constraint",
    "Dimming",
    "DimmingProof",
    "Flexibility",
    "GatewaySchedule",
    "ResolvedBoundary",
    "Series",
    "Share",
    "SharedLimit",
    "SystemMark",
    "not_over",
]
