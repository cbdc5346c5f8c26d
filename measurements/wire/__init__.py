"""The words, units and signs of the wire API: of live values, history and single readings."""
