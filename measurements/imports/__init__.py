"""Recorded history from files: read, mapped, judged and stored; by command, or by a page."""
