"""How charging stations charge by themselves: from the sun, at once, or in time (`charging`)."""
