"""How dates are written: one way per language, everywhere."""
