"""Many gateways in a process of their own, over bare sockets: as fast as they can, or at a rate.

MQTT 3.1.1 with QoS 1. A client library for Python is the bottleneck itself; whole packets, made
beforehand and written by the window, are not.
"""

import multiprocessing
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from selectors import EVENT_READ, DefaultSelector
from typing import NamedTuple
from urllib.parse import urlsplit

from gridx.gateways.codec import encode
from gridx.gateways.messages import VERSION, ApplianceReadings, Readings
from gridx.gateways.topics import Channel, mqtt_topic

LOCAL_IDS = ("one", "two", "three", "four", "five")
MINUTE_MS = 60_000
# How many messages of a gateway may be unacknowledged.
_WINDOW = 20
_PATIENCE_S = 60.0
_CONNECT, _PUBLISH_QOS_1, _PUBACK = 0x10, 0x32, b"\x40\x02"
_CLEAN_WITH_SIGN_IN = 0xC2


class SignIn(NamedTuple):
    serial: str
    secret: str


class Senders:
    """The process; it does one thing at a time, and what it sends is new each time."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def prepare(self, messages: int, *, minutes: int) -> None:
        """Make so many messages in all, each with so many minutes of a gateway's appliances."""
        self._ask("prepare", messages, minutes)

    def begin(self, *, a_second: float | None = None) -> None:
        """Send what is prepared, as fast as it is acknowledged or so many messages a second."""
        self._pipe.send(("send", a_second))

    def wait(self) -> float:
        """Until all that was begun is acknowledged; when (monotonic) its first message was sent."""
        return _answer(self._pipe)

    def _ask(self, *what: object) -> object:
        self._pipe.send(what)
        return _answer(self._pipe)


@contextmanager
def senders(*, mqtt_url: str, sign_ins: Sequence[SignIn], start_ms: int) -> Iterator[Senders]:
    """Gateways that are signed in, as soon as they are let in; their readings begin at `start_ms`.

    Each of the following minutes has one reading of each appliance.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, mqtt_url, list(sign_ins), start_ms))
    process.start()
    there.close()
    try:
        _answer(here)
        yield Senders(here)
    finally:
        here.close()
        process.join(10)
        process.kill()


class OneSender:
    """A gateway in this process, which says one thing at a time."""

    def __init__(self, sign_in: SignIn) -> None:
        self.gateway = _Gateway(sign_in, 0)

    def publish(self, *, power_w: float) -> None:
        """What its first appliance reads now; returns once that is acknowledged."""
        part = ApplianceReadings(
            appliance=LOCAL_IDS[0], at=[int(time.time() * 1000)], power_w=[power_w]
        )
        self.gateway.prepare_message([part])
        self.gateway.send(1)
        while self.gateway.waiting:
            self.gateway.take_answers()


@contextmanager
def one_sender(*, mqtt_url: str, sign_in: SignIn) -> Iterator[OneSender]:
    """It, signed in."""
    at, sender = urlsplit(mqtt_url), OneSender(sign_in)
    sender.gateway.sign_in(at.hostname, at.port)
    with sender.gateway.socket:
        yield sender


def _answer(pipe: Connection) -> object:
    """What the process answers; raises what went wrong there."""
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _work(pipe: Connection, mqtt_url: str, sign_ins: list[SignIn], start_ms: int) -> None:
    try:
        at = urlsplit(mqtt_url)
        gateways = [_Gateway(sign_in, start_ms) for sign_in in sign_ins]
        for gateway in gateways:
            gateway.sign_in(at.hostname, at.port)
        pipe.send("signed in")
        while True:
            what, *arguments = pipe.recv()
            if what == "prepare":
                messages, minutes = arguments
                for number in range(messages):
                    gateways[number % len(gateways)].prepare(minutes)
                pipe.send("prepared")
            else:
                pipe.send(_send(gateways, *arguments))
    except EOFError:
        pass
    except Exception as error:
        pipe.send(error)


class _Gateway:
    """One connection, its prepared packets, and how many of those sent wait for their answer."""

    def __init__(self, sign_in: SignIn, start_ms: int) -> None:
        self._sign_in = sign_in
        self._next_ms, self._seq = start_ms, 0
        self.prepared: deque[bytes] = deque()
        self.waiting = 0
        self._rest = b""

    def sign_in(self, host: str, port: int) -> None:
        serial, secret = self._sign_in
        body = _text("MQTT") + bytes([4, _CLEAN_WITH_SIGN_IN]) + struct.pack(">H", 0)
        packet = _packet(_CONNECT, body + _text(serial) + _text(serial) + _text(secret))
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            self.socket = socket.create_connection((host, port), timeout=_PATIENCE_S)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(packet)
            if (answer := self.socket.recv(4)) == b"\x20\x02\x00\x00":
                return
            self.socket.close()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{serial} was not let in: {answer!r}")
            time.sleep(0.2)

    def prepare(self, minutes: int) -> None:
        """Make the next message."""
        ats = [self._next_ms + MINUTE_MS * number for number in range(minutes)]
        counts = [at // MINUTE_MS % 1_000_000 for at in ats]
        self.prepare_message(
            [
                ApplianceReadings(
                    appliance=local_id,
                    at=ats,
                    power_w=[(count * 37 + place) % 4000 - 2000.5 for count in counts],
                    imported_wh=[round(1e6 + count * 12.51, 2) for count in counts],
                    exported_wh=[round(5e5 + count * 7.25, 2) for count in counts],
                    soc=[count % 800 / 1000 + 0.1 for count in counts],
                )
                for place, local_id in enumerate(LOCAL_IDS)
            ]
        )
        self._next_ms += minutes * MINUTE_MS

    def prepare_message(self, parts: list[ApplianceReadings]) -> None:
        message = Readings(
            v=VERSION, seq=self._seq, sent_at=int(time.time() * 1000), appliances=parts
        )
        packet_id = struct.pack(">H", self._seq % 65_535 + 1)
        topic = _text(mqtt_topic(self._sign_in.serial, Channel.READINGS))
        self.prepared.append(_packet(_PUBLISH_QOS_1, topic + packet_id + encode(message)))
        self._seq += 1

    def send(self, most: int) -> int:
        """Send up to so many within the window; returns how many."""
        count = min(most, _WINDOW - self.waiting, len(self.prepared))
        if count > 0:
            self.socket.sendall(b"".join(self.prepared.popleft() for _ in range(count)))
            self.waiting += count
        return max(count, 0)

    def take_answers(self) -> int:
        """Read the acknowledgements that have arrived; returns how many."""
        received = self.socket.recv(4096)
        if not received:
            raise ConnectionError(f"{self._sign_in.serial} was thrown out")
        whole = self._rest + received
        count = len(whole) // 4
        if any(whole[place : place + 2] != _PUBACK for place in range(0, 4 * count, 4)):
            raise ConnectionError(f"{self._sign_in.serial} was answered {whole[:40]!r}")
        self._rest = whole[4 * count :]
        self.waiting -= count
        return count


def _send(gateways: list[_Gateway], a_second: float | None) -> float:
    """Send all that is prepared; when (monotonic) the first was sent."""
    messages = unsent = unanswered = sum(len(gateway.prepared) for gateway in gateways)
    begun = time.monotonic()
    turn = 0
    with DefaultSelector() as selector:
        for gateway in gateways:
            selector.register(gateway.socket, EVENT_READ, gateway)
            if a_second is None:
                unsent -= gateway.send(_WINDOW)
        while unanswered:
            if a_second is not None:
                due = min(int((time.monotonic() - begun) * a_second) + 1, messages)
                # Those of full windows wait for a later turn, as do those after them.
                for _ in range(due - (messages - unsent)):
                    unsent -= gateways[turn % len(gateways)].send(1)
                    turn += 1
            ready = selector.select(_PATIENCE_S if a_second is None else 0.005)
            if not ready and a_second is None:
                raise TimeoutError(f"{unanswered} messages were not acknowledged")
            for key, _events in ready:
                unanswered -= key.data.take_answers()
                if a_second is None:
                    unsent -= key.data.send(_WINDOW)
    return begun


def _packet(kind: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + bytes(digits) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
