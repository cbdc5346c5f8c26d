import json
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nkeys
import pytest

from gridx.services import UnusableDataDirectory, addresses
from gridx.services.addresses import PROJECT_ROOT, data_directory, keep, move_occupied_ports

ALL = ("postgres", "valkey", "nats")
OWN = {
    "DATABASE_URL": "postgresql://me@db/gridx",
    "VALKEY_URL": "redis://cache/1",
    "NATS_URL": "nats://broker",
    "NATS_SYSTEM_URL": "nats://system@broker",
    "MQTT_URL": "mqtts://broker",
    "NATS_ISSUER_SEED": "SA",
    "GRIDX_SECRET_KEY": "key",
}


def test_the_data_directory_lies_in_the_project_unless_a_variable_says_otherwise(tmp_path):
    assert data_directory({}) == PROJECT_ROOT / ".gridx"
    assert data_directory({"GRIDX_DATA_DIR": str(tmp_path)}) == tmp_path


def test_addresses_are_chosen_once(tmp_path):
    environ = {"GRIDX_DATA_DIR": str(tmp_path / "new")}

    assert addresses(environ) == addresses(environ)


def test_every_address_is_there_and_no_secret_is_used_twice(tmp_path):
    at = addresses({"GRIDX_DATA_DIR": str(tmp_path)})

    assert all(asdict(at).values())
    secrets = asdict(keep(tmp_path).secrets).values()
    assert len(set(secrets)) == len(secrets)
    assert nkeys.from_seed(at.nats_issuer_seed.encode()).public_key.startswith(b"A")


def test_only_the_owner_can_read_the_file_with_the_secrets(tmp_path):
    before = os.umask(0)
    try:
        addresses({"GRIDX_DATA_DIR": str(tmp_path)})
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "addresses.json").stat().st_mode) == 0o600


def test_two_data_directories_share_neither_secrets_nor_ports(tmp_path):
    one, other = keep(tmp_path / "one"), keep(tmp_path / "other")

    assert not set(asdict(one.secrets).values()) & set(asdict(other.secrets).values())
    assert not set(asdict(one.ports).values()) & set(asdict(other.ports).values())


@pytest.mark.parametrize("variable", [name for name in OWN if name != "NATS_URL"])
def test_a_variable_replaces_one_address(tmp_path, variable):
    environ = {"GRIDX_DATA_DIR": str(tmp_path)}
    field = variable.removeprefix("GRIDX_").lower()

    replaced = addresses(environ | {variable: OWN[variable]})

    assert asdict(replaced) == asdict(addresses(environ)) | {field: OWN[variable]}


def test_an_own_nats_leaves_no_address_of_the_embedded_one(tmp_path):
    at = addresses({"GRIDX_DATA_DIR": str(tmp_path), "NATS_URL": "nats://broker"})

    assert at.nats_url == "nats://broker"
    assert (at.nats_system_url, at.mqtt_url, at.nats_issuer_seed) == ("", "", "")


def test_nothing_is_written_where_the_environment_says_all(tmp_path):
    directory = tmp_path / "unused"

    at = addresses(OWN | {"GRIDX_DATA_DIR": str(directory)})

    assert at.database_url == OWN["DATABASE_URL"]
    assert at.secret_key == "key"
    assert not directory.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"ports": {}, "secrets": {}}', '{"ports": 1}'])
def test_a_file_that_cannot_be_understood_is_refused_and_kept(tmp_path, content):
    file = tmp_path / "addresses.json"
    file.write_text(content)

    with pytest.raises(UnusableDataDirectory, match="cannot be understood"):
        addresses({"GRIDX_DATA_DIR": str(tmp_path)})

    assert file.read_text() == content


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_data_directory_of_another_user_is_refused(tmp_path):
    keep(tmp_path)
    os.chown(tmp_path / "addresses.json", 65534, 65534)

    with pytest.raises(UnusableDataDirectory, match="belongs to user 65534"):
        keep(tmp_path)


@pytest.mark.parametrize("name", ["postgres", "valkey", "nats", "mqtt"])
def test_an_occupied_port_is_exchanged_and_everything_else_stays(tmp_path, name):
    before = json.loads(json.dumps(asdict(keep(tmp_path))))
    with socket.create_server(("127.0.0.1", before["ports"][name])):
        moved = move_occupied_ports(tmp_path, ALL)

    assert list(moved) == [name]
    assert moved[name] != before["ports"][name]
    before["ports"] |= moved
    assert asdict(keep(tmp_path)) == before


def test_the_port_of_a_replaced_service_stays_when_it_is_occupied(tmp_path):
    with socket.create_server(("127.0.0.1", keep(tmp_path).ports.valkey)):
        assert move_occupied_ports(tmp_path, ("postgres", "nats")) == {}


def test_a_draft_that_a_killed_run_left_behind_does_not_matter(tmp_path: Path):
    (tmp_path / "addresses.new").write_text("half of")

    assert keep(tmp_path) == keep(tmp_path)


def test_addresses_need_no_settings(run_python: Callable[[str], str]):
    code = (
        "from gridx.services import addresses; from django.conf import settings; "
        "addresses(); print(settings.configured)"
    )

    assert run_python(code).strip() == "False"
