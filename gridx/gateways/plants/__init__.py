"""Models of appliances and of whole sites that obey physics. Pure: no Django, no I/O, no clock.

Everything random is a function of a seed and an instant (`noise`), and all that accumulates is
integers (W·ms), so a site gives the same weather and the same counters whether it is stepped live
every few seconds, after a restart, or through years of history at once.
"""
