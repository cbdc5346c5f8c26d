from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gridx.gateways.simulator.entries import GatewayEntry, write_entries


@pytest.fixture
def gateways(tmp_path: Path) -> Path:
    path = tmp_path / "gateways.json"
    write_entries(path, [GatewayEntry(serial="GBX-0001", secret="s")])
    return path


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "house.csv"
    path.write_text("at,power\n2026-06-01T00:00:00Z,5\n")
    return path


def complaint(*arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("simulate_gateways", *map(str, arguments))
    return str(caught.value)


def test_it_asks_who_the_gateways_are():
    assert "--gateways FILE" in complaint()


def test_it_takes_no_more_gateways_than_there_are(gateways):
    assert "the file has 1 gateways" in complaint("--gateways", gateways, "--count", 2)
    assert "the file has 1 gateways" in complaint("--gateways", gateways, "--count", 0)


def test_a_single_gateway_needs_a_secret(tmp_path, monkeypatch):
    monkeypatch.delenv("GRIDX_GATEWAY_SECRET", raising=False)
    assert "--secret-file" in complaint("--serial", "GBX-1")
    assert "No such file" in complaint("--serial", "GBX-1", "--secret-file", tmp_path / "x")
    assert "not a gateway serial" in complaint("--serial", "gbx 1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--broker", "http://here"], "not the address of an MQTT broker"),
        (["--sample", "7", "--every", "10"], "--every must be a multiple of --sample"),
        (["--buffer", "0"], "must be above 0"),
        (["--speed", "-1"], "--speed must be above 0"),
        (["--until", "tomorrow"], "tomorrow"),
        (["--until", "2026-06-01T00:00:00"], "needs its offset from UTC"),
    ],
)
def test_wrong_options_are_refused(gateways, arguments, said):
    assert said in complaint("--gateways", gateways, *arguments)


def test_one_clock_is_enough(gateways, monkeypatch):
    monkeypatch.setenv("GRIDX_CLOCK", "2026-06-01T12:00:00Z*60@1764000000")
    assert "GRIDX_CLOCK" in complaint("--gateways", gateways, "--speed", 2)


def test_a_profile_says_what_its_columns_mean(gateways, profile):
    common = ["--gateways", gateways, "--profile", profile]
    assert "at least one --map" in complaint(*common)
    assert "is not COLUMN=" in complaint(*common, "--map", "power")
    assert "what is 'roof'?" in complaint(*common, "--map", "power=roof:power_w")
    mapped = [*common, "--appliance", "roof:pv_inverter"]
    assert "no column watt" in complaint(*mapped, "--map", "watt=roof:power_w")
