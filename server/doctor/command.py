"""Command `doctor`: every check of these settings on this machine, as a table or as JSON."""

import asyncio
import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from server.access.addresses import own_addresses
from server.doctor import checks, facts
from server.doctor.finding import Finding
from server.doctor.ice_probe import probe
from server.settings import Settings
from server.webrtc.ice_servers import with_turn_credentials

if TYPE_CHECKING:
    from streaming.device_report import DeviceReport

MARKS = {"ok": "ok  ", "warning": "WARN", "failure": "FAIL"}


def diagnose(settings: Settings) -> list[Finding]:
    """Every finding. Takes seconds: torch is imported, servers are asked."""
    device = facts.device(settings)
    return [
        *_of_installation(),
        *_of_network(settings),
        checks.access(settings, facts.access_problem(settings)),
        *_of_model(settings, device),
        *_of_disks(settings, device),
    ]


def report(settings: Settings, *, as_json: bool) -> int:
    """Print every finding; the status to exit with: 1 after a failure."""
    findings = diagnose(settings)
    typer.echo(json.dumps([asdict(one) for one in findings], indent=2) if as_json else as_text(findings))
    return int(any(one.level == "failure" for one in findings))


def as_text(findings: list[Finding]) -> str:
    """One line a finding, what to do below it."""
    width = max(len(one.check) for one in findings)
    lines: list[str] = []
    for one in findings:
        lines.append(f"{MARKS[one.level]}  {one.check:<{width}}  {one.text}")
        if one.fix:
            lines.append(f"{'':<{width + 6}}  -> {one.fix}")
    return "\n".join(lines)


def _of_installation() -> Iterator[Finding]:
    package = facts.distribution()
    yield checks.python(platform.python_version(), package.python)
    if package.python is not None:
        yield checks.packages(package.requirements, package.installed)
    yield checks.clock(datetime.now(UTC), facts.installed_at())


def _of_network(settings: Settings) -> Iterator[Finding]:
    own = own_addresses()
    address = (own or [facts.LOOPBACK])[0]
    yield checks.port(
        "port", settings.host, settings.port, facts.listen_problem(settings.host, settings.port)
    )
    if (number := settings.metrics_port) is not None:
        problem = facts.listen_problem(facts.LOOPBACK, number)
        yield checks.port("metrics_port", facts.LOOPBACK, number, problem)
    yield checks.browser(settings)
    yield checks.udp_ports(settings, facts.free_udp_ports(settings.udp_ports, address), len(own))
    yield checks.public_address(settings.public_address, own)
    if not settings.ice_servers:
        yield checks.no_ice_servers(settings, own)
    yield from asyncio.run(_ask_ice_servers(settings))


async def _ask_ice_servers(settings: Settings) -> list[Finding]:
    asked = [
        (url, server.username, server.credential)
        for server in with_turn_credentials(settings)
        for url in server.urls
    ]
    answers = await asyncio.gather(*(probe(*one) for one in asked))
    return [
        checks.ice_server(url, answer.problem, answer.address)
        for (url, *_), answer in zip(asked, answers, strict=True)
    ]


def _of_model(settings: Settings, device: "DeviceReport") -> Iterator[Finding]:
    yield checks.device(device, settings.model)
    yield checks.optimizations(device)
    files, problem = facts.model_files(settings.model)
    yield checks.weights(settings, files, problem)
    missing = sum((file.size or 0) - file.here for file in files)
    if missing > 0 and not settings.random_weights:
        folder = facts.hub_folder()
        yield checks.space_for_weights(missing, facts.free_bytes(folder), str(folder))
    if settings.size is not None:
        yield checks.size(settings.size, facts.size_problem(settings.model, settings.size))
    if settings.scribble is not None:
        yield checks.file("scribble", str(settings.scribble), facts.file_problem(settings.scribble))


def _of_disks(settings: Settings, device: "DeviceReport") -> Iterator[Finding]:
    if device.compile_folder is not None and (
        device.capability is not None or settings.cache_dir is not None
    ):
        folder = device.compile_folder
        yield checks.folder("cache_dir", str(folder), facts.folder_problem(folder))
    recordings = settings.recordings_dir or Path(tempfile.gettempdir())
    yield checks.folder("recordings_dir", str(recordings), facts.folder_problem(recordings))
    yield checks.space_for_recordings(settings, facts.free_bytes(recordings))
