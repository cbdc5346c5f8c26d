"""Slots: computed from readings, kept right by a queue of dirty ones.

Storing marks the slots that new or changed readings touch. `compute_dirty` claims some of them
(`claims`), computes the appliances' slots (`appliances`), the systems' slots (`systems`) and the
days and months (`rollups`), all in one transaction. Live, late, corrected, imported and rebuilt
data go through it alike, and running it again changes nothing.
"""

from measurements.slots.claims import waiting_slots
from measurements.slots.compute import Computed, compute_dirty, compute_until_clean
from measurements.slots.rebuilding import mark_history

__all__ = ["Computed", "compute_dirty", "compute_until_clean", "mark_history", "waiting_slots"]
