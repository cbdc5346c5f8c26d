"""A grid operator's dimming under § 14a EnWG: what it asks for (`rules`), and the proof of it."""
