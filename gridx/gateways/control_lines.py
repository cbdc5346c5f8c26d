"""The lines by which the broker announces a message, as the protocol has them and nats-py does not.

Their fields stand between spaces and tabs. nats-py takes any white space for that, so also the
vertical tab, which the broker lets a gateway use in a topic: such a message would end the
connection again and again, as it is handed out anew, or keep it waiting, for all gateways.

https://docs.nats.io/reference/reference-protocols/nats-protocol#msg; tried with nats-server 2.15.
"""

import re

from nats.protocol import parser

_FIELD = rb"([^ \t\r\n]+)"
_GAP = rb"[ \t]+"
# Subject, subscription, and the subject for answers where there is one; then the sizes.
_ADDRESS = _FIELD + _GAP + _FIELD + _GAP + rb"(" + _FIELD + _GAP + rb")?"
MSG = re.compile(rb"\AMSG" + _GAP + _ADDRESS + rb"(\d+)\r\n")
HMSG = re.compile(rb"\AHMSG" + _GAP + _ADDRESS + rb"(\d+)" + _GAP + rb"(\d+)\r\n")


def read_as_specified() -> None:
    """Make nats-py read these lines so, in this whole process."""
    parser.MSG_RE, parser.HMSG_RE = MSG, HMSG
