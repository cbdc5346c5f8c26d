"""Limits that come again, by the day of the week and the time of the day."""
