"""What comes through a line, and what does not."""

import socket
from collections.abc import Iterator

import pytest

from tests.gridx.gateways.line import Line


@pytest.fixture
def far_end() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def line(far_end: socket.socket) -> Iterator[Line]:
    line = Line(*far_end.getsockname())
    yield line
    line.close()


def connect(line: Line, far_end: socket.socket) -> tuple[socket.socket, socket.socket]:
    near = socket.create_connection(("127.0.0.1", line.port), timeout=5)
    far, _address = far_end.accept()
    far.settimeout(0.3)
    return near, far


def test_a_line_passes_on_both_ways(line: Line, far_end: socket.socket):
    near, far = connect(line, far_end)
    near.sendall(b"there")
    assert far.recv(10) == b"there"
    far.sendall(b"back")
    assert near.recv(10) == b"back"


def test_a_line_that_is_cut_hangs_up_and_lets_nobody_in_until_it_is_mended(
    line: Line, far_end: socket.socket
):
    near, far = connect(line, far_end)
    line.cut(silently=False)
    assert near.recv(10) == b""
    assert far.recv(10) == b""
    with socket.create_connection(("127.0.0.1", line.port), timeout=5) as refused:
        assert refused.recv(10) == b""


def test_what_is_sent_over_a_line_that_is_cut_silently_comes_through_later(
    line: Line, far_end: socket.socket
):
    near, far = connect(line, far_end)
    line.cut(silently=True)
    near.sendall(b"later")
    with pytest.raises(TimeoutError):
        far.recv(10)
    line.mend()
    assert far.recv(10) == b"later"
