import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict
from urllib.parse import urlsplit

import psutil
import pytest

from gridx.services import addresses, running
from gridx.services.addresses import keep
from tests.gridx.services.conftest import main_process, none_left, servers, wait_until
from tests.gridx.services.content import everywhere, read_content, write_content

pytestmark = pytest.mark.slow


def test_it_prints_the_addresses_without_secrets(data_directory, supervise):
    supervisor = supervise()
    supervisor.end(signal.SIGINT)

    at = addresses()
    for url in (at.database_url, at.valkey_url, at.nats_url, at.mqtt_url):
        assert f"127.0.0.1:{urlsplit(url).port}" in supervisor.output
    assert not [
        name
        for name, secret in asdict(keep(data_directory).secrets).items()
        if secret in supervisor.output
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(data_directory, supervise, number):
    supervisor = supervise()
    assert all(servers(data_directory).values())

    assert supervisor.end(number) == 0

    assert "Stopped." in supervisor.output
    assert none_left(data_directory)


def test_a_second_one_uses_the_services_and_does_not_stop_them(data_directory, supervise):
    owner = supervise()
    before = servers(data_directory)
    guest = supervise()
    with running() as at:
        write_content(at, "guest")
    guest.end(signal.SIGTERM)

    assert servers(data_directory)["nats"] == before["nats"]
    assert main_process(data_directory, "postgres") in before["postgres"]
    owner.end(signal.SIGTERM)
    assert none_left(data_directory)


def test_after_the_supervisor_was_killed_the_next_start_recovers(data_directory, supervise):
    killed = supervise()
    write_content(addresses(), "before")
    killed.end(signal.SIGKILL)

    with running() as at:
        assert read_content(at) == everywhere("before")
    assert none_left(data_directory)


def test_after_everything_was_killed_the_next_start_recovers(data_directory, supervise):
    killed = supervise()
    write_content(addresses(), "before")
    # It can neither restart the servers nor is its death what ends them.
    killed.popen.send_signal(signal.SIGSTOP)
    for processes in servers(data_directory).values():
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    killed.end(signal.SIGKILL)

    with running() as at:
        assert read_content(at) == everywhere("before")


def test_servers_that_outlived_their_supervisor_are_stopped_and_replaced(data_directory):
    with running() as at:
        write_content(at, "before")
        mains = [main_process(data_directory, name) for name in ("postgres", "valkey", "nats")]
        commands = [(main.cmdline(), main.cwd(), main.uids(), main.gids()) for main in mains]
    # Without the death signal, as on a platform that has none.
    outlived = [
        subprocess.Popen(argv, cwd=cwd, user=uids.real, group=gids.real, start_new_session=True)
        for argv, cwd, uids, gids in commands
    ]
    wait_until(lambda: all(servers(data_directory).values()))

    with running() as again:
        assert [process.wait(1) is not None for process in outlived] == [True] * 3
        assert again == at
        assert read_content(again) == everywhere("before")
    assert none_left(data_directory)
