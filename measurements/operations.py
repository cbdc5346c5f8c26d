"""What changes measurements: the operations of this app, each beside what it needs."""

from measurements.ingest import UnableToDeclare, UnableToStore, declare_interval, store_readings

__all__ = ["UnableToDeclare", "UnableToStore", "declare_interval", "store_readings"]
