"""Virtual gateways, which speak the protocol and know of the cloud its messages alone.

entries      who they are: serial, secret and site, from a file
clock        a clock that may run faster than the real one
store        what survives a restart (SQLite, one file for all)
outbox       readings that were not acknowledged yet
session      the MQTT connection: sign-in, hello, sending, receiving
keeper       what the schedule, the heartbeat and the fail-safe ask for now
site_gateway a gateway whose appliances are models
recording, replay    a gateway whose readings come from a recorded file
fleet        many of them in one process
"""
