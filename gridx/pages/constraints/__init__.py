"""Constraints set, changed and withdrawn by people: of one appliance, of a group, of many."""
