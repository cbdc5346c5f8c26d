"""nats-py reads a message on whatever topic the broker lets pass; an upgrade of it shows here."""

import importlib.util

import pytest
from nats.errors import ProtocolError
from nats.protocol import parser

from gridx.gateways.control_lines import read_as_specified

# In a topic, nats-server 2.15 refuses white space but for the vertical tab, and NUL and DEL.
LET_PASS = [chr(code) for code in range(1, 32) if chr(code) not in "\t\n\f\r"]
SUBJECTS = [f"$MQTT.msgs.gridx.v1.GX-0001.up.a{char}b" for char in [*LET_PASS, "\x85", "\xa0"]]


class Client:
    """Takes what a parser makes of what it is fed."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, str, str, bytes, bytes | None]] = []

    async def _process_msg(self, sid, subject, reply, payload, headers) -> None:
        self.taken.append((sid, subject.decode(), reply.decode(), payload, headers))


async def taken(received: bytes, *, at_once: int) -> list[tuple]:
    read_as_specified()
    client = Client()
    its_parser = parser.Parser(client)
    for start in range(0, len(received), at_once):
        await its_parser.parse(received[start : start + at_once])
    return client.taken


@pytest.mark.parametrize("body", [b"{}", b" " * 5000])
@pytest.mark.parametrize("at_once", [7, 1_000_000])
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_every_subject_is_read_as_one(subject, body, at_once):
    headers = b"NATS/1.0\r\nNmqtt-Pub:1\r\n\r\n"
    sizes = f"{len(headers)} {len(headers) + len(body)}"
    received = b"".join(
        [
            f"HMSG {subject} 3 $JS.ACK.a {sizes}\r\n".encode() + headers + body + b"\r\n",
            f"HMSG {subject} 3 {sizes}\r\n".encode() + headers + body + b"\r\n",
            f"MSG {subject}  3\t_INBOX.b {len(body)}\r\n".encode() + body + b"\r\n",
            f"MSG {subject} 3 {len(body)}\r\n".encode() + body + b"\r\n",
        ]
    )
    assert await taken(received, at_once=at_once) == [
        (3, subject, "$JS.ACK.a", body, headers),
        (3, subject, "", body, headers),
        (3, subject, "_INBOX.b", body, None),
        (3, subject, "", body, None),
    ]


async def test_nats_py_by_itself_still_needs_that():
    spec = importlib.util.find_spec(parser.__name__)
    as_delivered = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(as_delivered)
    with pytest.raises(ProtocolError):
        await as_delivered.Parser(Client()).parse(b"MSG a\vb 3 2\r\n{}\r\n")
