import asyncio
import os
import socket
import subprocess
from contextlib import closing
from dataclasses import asdict
from urllib.parse import urlsplit

import aiomqtt
import nats
import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gridx.services import addresses, postgres, running
from gridx.services.addresses import keep
from gridx.services.postgres import check_postgres
from gridx.services.processes import UnableToStart
from tests.gridx.services.conftest import (
    VARIABLES,
    gone,
    main_process,
    none_left,
    postgres_home,
    servers,
    wait_until,
)
from tests.gridx.services.content import everywhere, read_content, write_content

pytestmark = pytest.mark.slow


def test_what_was_written_is_there_after_a_restart_and_no_process_in_between(data_directory):
    with running() as at:
        write_content(at, "first")
        assert all(servers(data_directory).values())
    assert none_left(data_directory)

    with running() as again:
        assert again == at
        write_content(again, "second")
        assert read_content(again) == everywhere("first", "second")


def test_servers_listen_on_this_machine_only(data_directory):
    with running():
        found = servers(data_directory)
        listening = {
            connection.laddr.ip
            for process in (
                main_process(data_directory, "postgres"),
                *found["valkey"],
                *found["nats"],
            )
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }

    assert listening == {"127.0.0.1"}


def test_the_database_is_what_the_project_needs(data_directory):
    with running() as at, closing(psycopg.connect(at.database_url, autocommit=True)) as connection:

        def value(query: str) -> str:
            return connection.execute(query).fetchone()[0]

        assert value("SHOW server_version").startswith("18")
        assert value("SHOW fsync") == value("SHOW synchronous_commit") == "on"
        assert value("SHOW TimeZone") == "UTC"
        assert value("SHOW server_encoding") == "UTF8"
        assert value("SELECT datlocale FROM pg_database WHERE datname = 'gridx'") == "C.UTF-8"
        assert value("SELECT upper('ä')") == "Ä"
        assert value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        connection.execute("CREATE EXTENSION ltree")
        connection.execute("CREATE DATABASE test_gridx")
        connection.execute("DROP DATABASE test_gridx")


def test_in_a_container_the_database_takes_a_quarter_of_what_that_may(
    data_directory, tmp_path, monkeypatch
):
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2**30}\n")
    monkeypatch.setattr(postgres, "CONTAINER_MEMORY", limit)
    with running() as at, closing(psycopg.connect(at.database_url)) as connection:
        assert connection.execute("SHOW shared_buffers").fetchone()[0] == "256MB"


def test_nobody_signs_in_to_the_database_or_the_cache_without_the_password(data_directory):
    with running() as at:
        url = urlsplit(at.database_url)
        for user, password in (("gridx", "wrong"), ("postgres", ""), ("postgres", "postgres")):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(
                    host=url.hostname, port=url.port, user=user, password=password, dbname="gridx"
                )
        cache = urlsplit(at.valkey_url)
        with (
            redis.Redis(
                host=cache.hostname, port=cache.port, retry=Retry(NoBackoff(), 0)
            ) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


async def test_the_link_may_use_the_log_and_the_system_user_may_not(data_directory):
    with running() as at:
        link = await nats.connect(at.nats_url)
        await link.jetstream().add_stream(name="LOG", subjects=["log.>"])
        assert (await link.jetstream().publish("log.a", b"1")).seq == 1
        await link.close()

        system = await nats.connect(at.nats_system_url)
        answer = await system.request("$SYS.REQ.SERVER.PING", b"", timeout=2)
        assert b'"name":"gridx"' in answer.data
        with pytest.raises(nats.errors.Error):
            await system.jetstream().account_info()
        await system.close()


async def test_an_unknown_gateway_is_asked_for_and_refused_without_an_answer(data_directory):
    with running() as at:
        asked = asyncio.Event()

        async def note(message: object) -> None:
            asked.set()

        link = await nats.connect(at.nats_url)
        await link.subscribe("$SYS.REQ.USER.AUTH", cb=note)
        await link.flush()
        mqtt = urlsplit(at.mqtt_url)
        stranger = aiomqtt.Client(
            mqtt.hostname, mqtt.port, identifier="X-1", username="X-1", password="secret"
        )
        with pytest.raises(aiomqtt.MqttError):
            await stranger.__aenter__()
        assert asked.is_set()
        await link.close()


async def test_the_clouds_own_users_cannot_sign_in_by_mqtt_with_a_guess(data_directory):
    with running() as at:
        mqtt = urlsplit(at.mqtt_url)
        guess = aiomqtt.Client(
            mqtt.hostname, mqtt.port, identifier="link", username="link", password="link"
        )
        with pytest.raises(aiomqtt.MqttError):
            await guess.__aenter__()


def test_jetstream_syncs_every_message_unless_a_variable_says_otherwise(
    data_directory, monkeypatch
):
    configuration = data_directory / "nats" / "nats.conf"
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/gridx")
    monkeypatch.setenv("VALKEY_URL", "redis://elsewhere/0")
    with running():
        assert "sync_interval: always" in configuration.read_text()

    monkeypatch.setenv("GRIDX_NATS_SYNC", "2m")
    with running():
        assert "sync_interval: 2m" in configuration.read_text()


@pytest.mark.parametrize("name", ["postgres", "valkey", "nats"])
def test_a_killed_server_is_restarted_with_its_data(data_directory, name):
    with running() as at:
        write_content(at, "before")
        killed = main_process(data_directory, name)
        killed.kill()
        wait_until(lambda: gone(killed.pid))

        with running() as same:
            # As a guest, who waits until all are healthy again.
            assert same == at
            write_content(at, "after")
            assert read_content(at) == everywhere("before", "after")
    assert none_left(data_directory)


def test_a_lock_file_that_names_a_strangers_process_does_not_hinder_the_start(data_directory):
    with running() as at:
        write_content(at, "before")
    lock = postgres_home(data_directory) / "data" / "postmaster.pid"
    assert not lock.exists()

    user = lock.parent.stat()
    with subprocess.Popen(["sleep", "600"], user=user.st_uid, group=user.st_gid) as stranger:
        lock.write_text(f"{stranger.pid}\n{lock.parent}\n1\n{at.database_url}\n")
        os.chown(lock, user.st_uid, user.st_gid)
        with running() as again:
            assert read_content(again)["postgres"] == ["before"]
        assert stranger.poll() is None
        stranger.kill()


def test_an_occupied_port_is_exchanged_and_the_data_stays(data_directory):
    with running() as at:
        write_content(at, "before")

    occupied = ("127.0.0.1", keep(data_directory).ports.postgres)
    with socket.create_server(occupied), running() as moved:
        assert read_content(moved) == everywhere("before")
        assert moved == addresses()
        changed = {key for key, value in asdict(at).items() if value != asdict(moved)[key]}
        assert changed == {"database_url"}


def test_two_data_directories_run_side_by_side(data_directory, make_data_directory, monkeypatch):
    other_directory = make_data_directory()
    with running() as one:
        monkeypatch.setenv("GRIDX_DATA_DIR", str(other_directory))
        with running() as other:
            write_content(one, "one")
            write_content(other, "other")
            assert read_content(one) == everywhere("one")
            assert read_content(other) == everywhere("other")
        assert none_left(other_directory)
        assert read_content(one) == everywhere("one")


def test_a_lost_address_file_costs_no_data(data_directory):
    with running() as at:
        write_content(at, "before")
    (data_directory / "addresses.json").unlink()

    with running() as again:
        assert again.database_url != at.database_url
        assert read_content(again) == everywhere("before")


def test_an_initialisation_that_was_killed_is_begun_anew(data_directory, monkeypatch):
    monkeypatch.setenv("VALKEY_URL", "redis://elsewhere/0")
    monkeypatch.setenv("NATS_URL", "nats://elsewhere")
    keep(data_directory)
    half_made = data_directory / "postgres" / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18")

    with running() as at:
        check_postgres(at.database_url)
    assert not half_made.exists()


def test_a_replaced_service_is_not_started(data_directory, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/gridx")
    monkeypatch.setenv("NATS_URL", "nats://elsewhere")
    with running() as at:
        found = servers(data_directory)
        assert found["valkey"]
        assert not found["postgres"]
        assert not found["nats"]
        assert at.database_url == "postgresql://elsewhere/gridx"
    assert none_left(data_directory)


def test_nothing_is_started_where_everything_is_replaced(data_directory, monkeypatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "own")
    with running() as at:
        assert at.nats_url == "own"
    assert not list(data_directory.iterdir())


def test_a_server_that_does_not_come_up_is_reported_with_its_log_and_the_others_stop(
    data_directory, monkeypatch
):
    monkeypatch.setenv("GRIDX_NATS_SYNC", "nonsense")

    with pytest.raises(UnableToStart, match=r"nats: exit code 1(.|\n)*sync_interval"):
        running().__enter__()

    assert none_left(data_directory)
