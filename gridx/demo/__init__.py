"""The demo's world: an operator, its people, eight homes and a charging fleet.

`world` says who and what there is, `build` makes it, `history` fills it up to now.
"""
