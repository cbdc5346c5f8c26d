"""Limits for the sum of many: divided (`shares`), kept up to date (`balancing`), set and shown."""
