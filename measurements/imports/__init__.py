"""Recorded readings from files that people bring to a page; workers read them."""
