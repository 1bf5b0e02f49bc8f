"""Facts that the checks judge: what this machine, its disks and its ports are like."""

import importlib.metadata
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from server.access.errors import UnusableAccess
from server.access.hosts import check_bind
from server.access.tls import tls_context
from server.access.tokens import Tokens
from server.settings import Settings

if TYPE_CHECKING:
    from streaming.device_report import DeviceReport
    from streaming.hub.pull import FileState

PACKAGE = "depthlive"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The installed package: what it wants, and what is there."""

    python: str | None  # Requires-Python; None: it is not installed
    requirements: tuple[str, ...]  # without those of extras
    installed: dict[str, str]


def distribution() -> Distribution:
    try:
        found = importlib.metadata.metadata(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return Distribution(None, (), {})
    wanted = tuple(one for one in found.get_all("Requires-Dist", []) if "extra ==" not in one)
    installed: dict[str, str] = {}
    for name in (Requirement(one).name for one in wanted):
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return Distribution(found["Requires-Python"], wanted, installed)


def installed_at() -> datetime:
    """When the files of this version were written."""
    return datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)


def listen_problem(host: str, port: int) -> str | None:
    """Why nothing can listen there on TCP; None if it can."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen()
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that a host could have
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    return None


def free_udp_ports(ports: tuple[int, int] | None, address: str) -> int:
    """How many of a range can be bound on an address of this machine."""
    numbers: Iterable[int] = () if ports is None else range(ports[0], ports[1] + 1)
    return sum(_is_free(address, number) for number in numbers)


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def access_problem(settings: Settings) -> str | None:
    """Why `serve` would refuse the settings of access."""
    try:
        check_bind(settings)
        Tokens.load(settings)
        if settings.tls_cert is not None:  # a certificate that is made is written: that is for serve to do
            tls_context(settings)
    except UnusableAccess as error:
        return str(error)
    return None


def folder_problem(folder: Path) -> str | None:
    """Why nothing could be written there; None if it could. Makes no folder."""
    above = next((one for one in (folder, *folder.absolute().parents) if one.exists()), None)
    if above is None:
        return "does not exist"
    if not above.is_dir():
        return f"{above} is no folder"
    try:
        with tempfile.TemporaryFile(dir=above):
            return None
    except OSError as error:
        return error.strerror or str(error)


def free_bytes(folder: Path) -> int:
    """On the disk where it is, or would be made."""
    above = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(above).free


def file_problem(path: Path) -> str | None:
    """Why it cannot be read."""
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def model_files(model: str) -> "tuple[list[FileState], str | None]":
    """The model's files, and why they cannot be known. Asks no network."""
    from streaming.hub.pull import HubError, inventory  # not before: it takes half a second

    try:
        return inventory(model), None
    except HubError as error:
        return [], str(error)


def size_problem(model: str, size: tuple[int, int]) -> str | None:
    """Why the model makes no pictures of that width and height."""
    from streaming.checkpoints.presets import find_preset  # not before: torch is imported

    try:
        find_preset(model).with_size(size)
    except ValueError as error:
        return str(error)
    return None


def hub_folder() -> Path:
    """Where the model's files lie, as HF_HUB_CACHE and HF_HOME say."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def device(settings: Settings) -> "DeviceReport":
    """Takes seconds: torch is imported."""
    from streaming.device_report import device_report

    return device_report(settings.device, settings.speed, settings.precision, settings.cache_dir)
