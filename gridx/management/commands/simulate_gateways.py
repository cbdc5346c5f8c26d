"""Virtual gateways: `python manage.py simulate_gateways --gateways FILE --count N`."""

import asyncio
import json
import os
import resource
import signal
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gridx import clock, services
from gridx.gateways.simulator.clock import SimulatedClock
from gridx.gateways.simulator.entries import GatewayEntry, UnusableEntries, read_entries
from gridx.gateways.simulator.fleet import Gateway, Report, simulate
from gridx.gateways.simulator.recording import Mapping, Recording, UnusableRecording
from gridx.gateways.simulator.replay import Replay, ReplayGateway
from gridx.gateways.simulator.session import Broker
from gridx.gateways.simulator.site_gateway import Pace, SiteGateway
from gridx.gateways.simulator.store import Store, StoreInUse
from gridx.gateways.topics import InvalidSerial, check_serial
from inventory.kinds import ApplianceKind


class Command(BaseCommand):
    help = (
        "Virtual gateways in one process, which speak the gateways' protocol: with models of "
        "appliances, or (--profile) with a recorded file. Who they are says --gateways (a JSON "
        "list of serial, secret and site), or --serial with --secret-file."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        who = parser.add_argument_group("who")
        who.add_argument("--gateways", type=Path, metavar="FILE", help="JSON list of gateways")
        who.add_argument("--count", type=int, metavar="N", help="the first N of the file")
        who.add_argument("--serial", help="one gateway, in place of a file")
        who.add_argument(
            "--secret-file", type=Path, help="its secret (or set GRIDX_GATEWAY_SECRET)"
        )
        who.add_argument("--broker", metavar="URL", help="mqtt://host:port or mqtts://host:port")
        who.add_argument("--state", type=Path, metavar="DIR", help="remember over restarts here")
        pace = parser.add_argument_group("pace")
        pace.add_argument("--sample", type=float, default=10, metavar="S", help="read every S s")
        pace.add_argument("--every", type=float, default=10, metavar="S", help="send every S s")
        pace.add_argument("--speed", type=float, metavar="X", help="X times as fast")
        pace.add_argument("--until", metavar="INSTANT", help="stop there (ISO 8601 with offset)")
        pace.add_argument("--fill-pauses", action="store_true", help="send what a pause missed")
        pace.add_argument("--buffer", type=int, default=10_000, metavar="N", help="messages kept")
        pace.add_argument("--in-flight", type=int, default=20, metavar="N")
        self._add_profile_arguments(parser.add_argument_group("a recorded file"))

    def _add_profile_arguments(self, profile: Any) -> None:
        profile.add_argument("--profile", type=Path, metavar="FILE", help="CSV, also .gz and .xz")
        profile.add_argument(
            "--map", action="append", default=[], metavar="COLUMN=LOCAL_ID:QUANTITY[:SCALE]"
        )
        profile.add_argument("--time-column", default="at")
        profile.add_argument(
            "--appliance", action="append", default=[], metavar="LOCAL_ID:KIND",
            help="the kind of an appliance whose local id does not say it",
        )  # fmt: skip
        profile.add_argument("--batch", type=int, default=60, help="rows a message")
        profile.add_argument("--interval", type=float, help="declared seconds between two rows")
        profile.add_argument("--once", action="store_true", help="end with the file")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            entries = _entries(options)
            broker = Broker.at(options["broker"] or services.addresses().mqtt_url)
            until_ms = _instant_ms(options["until"]) if options["until"] else None
            replay = _replay(options) if options["profile"] else None
            pace = _pace(options)
            _allow_connections(len(entries))
            store = Store(options["state"])
        except (ValueError, StoreInUse) as error:
            raise CommandError(str(error)) from error
        began = time.monotonic()
        gateways: list[Gateway] = []
        try:
            report = asyncio.run(
                self._run(gateways, entries, broker, store, replay, pace, until_ms, options)
            )
        except UnusableRecording as error:
            raise CommandError(str(error)) from error
        finally:
            store.close()
        self._report(report, gateways, time.monotonic() - began)

    async def _run(
        self,
        gateways: list[Gateway],
        entries: Sequence[GatewayEntry],
        broker: Broker,
        store: Store,
        replay: Replay | None,
        pace: Pace,
        until_ms: int | None,
        options: dict[str, Any],
    ) -> Report:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        ticking = SimulatedClock.real() if replay else _clock(options["speed"])
        for entry in entries:
            shared = {"broker": broker, "clock": ticking, "store": store}
            gateways.append(
                ReplayGateway(entry, replay=replay, **shared)
                if replay
                else SiteGateway(entry, pace=pace, **shared)
            )
        self.stderr.write(f"{len(gateways)} gateways at {broker.host}:{broker.port}")
        stays = replay is not None and not options["once"]
        return await simulate(gateways, stop=stop, until_ms=until_ms, stays=stays)

    def _report(self, report: Report, gateways: list[Gateway], seconds: float) -> None:
        figures: dict[str, Any] = {**asdict(report), "seconds": round(seconds, 1)}
        replays = [gateway for gateway in gateways if isinstance(gateway, ReplayGateway)]
        if replays:
            figures["rows"] = sum(gateway.rows for gateway in replays)
            figures["instants"] = sum(gateway.acknowledged_instants for gateway in replays)
        self.stdout.write(json.dumps(figures))
        if replays and not report.is_complete:
            raise CommandError("not all readings were acknowledged")


def _entries(options: dict[str, Any]) -> list[GatewayEntry]:
    if options["gateways"]:
        entries = read_entries(options["gateways"])
        count = options["count"]
        if count is not None and not 0 < count <= len(entries):
            raise UnusableEntries(f"--count {count}: the file has {len(entries)} gateways")
        return entries[:count]
    if not options["serial"]:
        raise UnusableEntries("say who the gateways are: --gateways FILE, or --serial")
    try:
        serial = check_serial(options["serial"])
        secret = os.environ.get("GRIDX_GATEWAY_SECRET", "")
        if options["secret_file"]:
            secret = options["secret_file"].read_text().strip()
    except (OSError, InvalidSerial) as error:
        raise UnusableEntries(str(error)) from error
    if not secret:
        raise UnusableEntries("--serial needs --secret-file, or GRIDX_GATEWAY_SECRET")
    return [GatewayEntry(serial=serial, secret=secret)]


def _allow_connections(count: int) -> None:
    """A connection holds up to four file descriptors; the usual limit of 1,024 is too low."""
    wanted = 4 * count + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ValueError(f"{count} gateways need {wanted} open files; the system allows {hard}")
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _pace(options: dict[str, Any]) -> Pace:
    sample_ms, message_ms = round(options["sample"] * 1000), round(options["every"] * 1000)
    if sample_ms < 1 or message_ms < 1 or message_ms % sample_ms:
        raise ValueError("--every must be a multiple of --sample, both above 0")
    if options["buffer"] < 1 or options["in_flight"] < 1 or options["batch"] < 1:
        raise ValueError("--buffer, --in-flight and --batch must be above 0")
    return Pace(
        sample_ms=sample_ms,
        message_ms=message_ms,
        fills_pauses=options["fill_pauses"],
        capacity=options["buffer"],
        in_flight=options["in_flight"],
    )


def _replay(options: dict[str, Any]) -> Replay:
    recording = Recording(
        options["profile"],
        tuple(Mapping.parse(text) for text in options["map"]),
        options["time_column"],
    )
    if not recording.mappings:
        raise UnusableRecording("--profile needs at least one --map")
    kinds = dict(text.split(":", 1) for text in options["appliance"] if ":" in text)
    for local_id in recording.local_ids:
        kinds.setdefault(local_id, local_id)
        if kinds[local_id] not in set(ApplianceKind):
            known = ", ".join(ApplianceKind)
            raise UnusableRecording(
                f"what is {local_id!r}? say --appliance {local_id}:KIND ({known})"
            )
    return Replay(
        recording=recording,
        kinds=kinds,
        interval_s=options["interval"] or recording.interval_s(),
        batch=options["batch"],
        speed=options["speed"],
        in_flight=options["in_flight"],
    )


def _clock(speed: float | None) -> SimulatedClock:
    """GRIDX_CLOCK's, which all processes share; else the real one, or a faster one."""
    shared = os.environ.get("GRIDX_CLOCK")
    if speed is not None and speed <= 0:
        raise CommandError("--speed must be above 0")
    if shared:
        if speed is not None:
            raise CommandError("GRIDX_CLOCK says already how fast time runs")
        rate = clock.parse(shared).speed
        return SimulatedClock(lambda: int(clock.now().timestamp() * 1000), rate)
    return SimulatedClock.real() if speed in (None, 1) else SimulatedClock.faster(speed)


def _instant_ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"--until {text}: an instant needs its offset from UTC")
    return round(instant.timestamp() * 1000)
