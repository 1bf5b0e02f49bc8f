"""Checks of a machine and its settings: pure functions of what facts.py and ice_probe.py have read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from server.access.addresses import is_loopback
from server.doctor.finding import Finding, failure, ok, warning
from server.media.recording_store import FREE_BYTES
from server.settings import Settings

if TYPE_CHECKING:
    from streaming.device_report import DeviceReport
    from streaming.hub.pull import FileState

SOCKETS_OF_SESSION = 2  # UDP ports that a connection takes for an address, at most
OWN_FOLDERS_FIX = "make it writable for the user that runs the server, or name another one"


def python(version: str, wanted: str | None) -> Finding:
    """`wanted` as in Requires-Python; None where the package is not installed."""
    if wanted is None:
        return warning("python", f"Python {version}; depthlive is not installed", "pip install depthlive")
    if version not in SpecifierSet(wanted, prereleases=True):
        return failure(
            "python", f"Python {version}: expected {wanted}", "make a new virtual environment with it"
        )
    return ok("python", f"Python {version}")


def packages(wanted: Sequence[str], installed: Mapping[str, str]) -> Finding:
    """`wanted`: requirements without extras, as in Requires-Dist; `installed`: versions by package."""
    wrong: list[str] = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed.get(requirement.name)
        if found is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}: expected {requirement.specifier}")
    if wrong:
        return failure("packages", "; ".join(wrong), "pip install --upgrade depthlive")
    return ok("packages", f"{len(wanted)} requirements are met")


def port(name: str, host: str, number: int, problem: str | None) -> Finding:
    """`name`: the setting; `problem`: why nothing can listen there."""
    if problem is None:
        return ok(name, f"{host or 'every address'} port {number or 'any'} can be listened on")
    return failure(name, f"{host} port {number}: {problem}", f"end what uses it, or set another {name}")


def udp_ports(settings: Settings, free: int, addresses: int) -> Finding:
    """`free`: how many of the range can be bound; `addresses`: how many this machine has."""
    if settings.udp_ports is None:
        return ok("udp_ports", "media takes any free UDP ports; a firewall must let them through")
    first, last = settings.udp_ports
    count, needed = last - first + 1, SOCKETS_OF_SESSION * settings.max_sessions * max(1, addresses)
    if not free:
        return failure(
            "udp_ports",
            f"none of the {count} UDP ports {first}-{last} is free",
            "set a range that nobody uses",
        )
    if free < needed:
        return warning(
            "udp_ports",
            f"{free} of the UDP ports {first}-{last} are free; "
            f"{settings.max_sessions} sessions may need {needed}",
            "set a larger range, or fewer max_sessions",
        )
    return ok("udp_ports", f"{free} of {count} UDP ports are free")


def public_address(address: IPv4Address | IPv6Address | None, own: Sequence[str]) -> Finding:
    """`own`: addresses of this machine that others may reach."""
    name = "public_address"
    if address is None:
        if own:
            return ok(name, f"clients are told this machine's own addresses: {', '.join(own)}")
        return warning(
            name, "this machine has no address that others reach", "connect it, or set public_address"
        )
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return failure(
            name, f"{address} is no address that others reach", "set the one that clients connect to"
        )
    if address.is_private:
        return warning(
            name,
            f"{address} is reached in its own network alone",
            "for the internet, set the address of its router",
        )
    return ok(name, f"clients are told {address}")


def browser(settings: Settings) -> Finding:
    """Whether a browser gives a page of this server the camera: over https, or on localhost."""
    if settings.tls_cert is not None:
        return ok("browser", "the page comes over https")
    if settings.tls == "self-signed":
        return ok("browser", "the page comes over https; who opens it accepts a warning once")
    if settings.trusted_proxies:
        return ok("browser", "a proxy is in front: it must serve https")
    if is_loopback(settings.host):
        return ok("browser", "the page has the camera on this machine; others need a proxy with https")
    return warning(
        "browser",
        "browsers on other machines give a page without https no camera",
        "set tls = self-signed, or tls_cert and tls_key, or put a proxy with https in front",
    )


def access(settings: Settings, problem: str | None) -> Finding:
    """`problem`: why serve refuses these settings."""
    if problem is not None:
        return failure(
            "access", problem, "make tokens with: depthlive token, or set open for a network you trust"
        )
    if settings.auth_secret_file is not None or settings.auth_tokens_file is not None:
        return ok("access", "tokens are asked for")
    if is_loopback(settings.host) and not settings.trusted_proxies:
        return ok("access", "this machine alone reaches the server")
    return warning(
        "access",
        "whoever reaches this server may use it",
        "set auth_secret_file, unless that is what you want",
    )


def device(report: "DeviceReport", model: str) -> Finding:
    if report.problem is not None:
        return failure(
            "device", report.problem, "set device = auto, or install the driver and a PyTorch for it"
        )
    if report.capability is None:
        if report.driver is not None:
            return warning(
                "device",
                f"the CPU is used although an NVIDIA driver ({report.driver}) is here",
                "install a PyTorch with CUDA: see pytorch.org",
            )
        if model != "embedded":
            return warning(
                "device", f"{model} will be far from real time on a CPU", "use a GPU, or model = embedded"
            )
        return ok("device", f"{report.name}, no GPU")
    major, minor = report.capability
    memory = f"{report.free_bytes / 1e9:.1f} of {report.memory_bytes / 1e9:.1f} GB free"
    driver = f", driver {report.driver}" if report.driver else ""
    return ok("device", f"{report.name}, capability {major}.{minor}, {memory}{driver}")


def optimizations(report: "DeviceReport") -> Finding:
    """Those that are off for want of something that could be installed are a warning."""
    if report.capability is None:
        return ok("optimizations", "none on a CPU")
    used = [name for name, reason in report.optimizations.items() if reason is None]
    unused = {name: reason for name, reason in report.optimizations.items() if reason is not None}
    text = f"used: {', '.join(used) or 'none'}"
    if unused:
        text += "; not used: " + "; ".join(f"{name}: {reason}" for name, reason in unused.items())
    if report.installable:
        return warning("optimizations", text, f"pip install {' '.join(report.installable)}")
    return ok("optimizations", text)


def weights(settings: Settings, files: "Sequence[FileState]", problem: str | None) -> Finding:
    """`files`: those of the model, and how much of each is here; `problem`: why that cannot be known."""
    model = settings.model
    if settings.random_weights:
        return ok("weights", "drawn at random (random_weights)")
    if problem is not None:
        return failure("weights", problem, "see: depthlive models list")
    if not files:
        return ok("weights", f"{model} is built in")
    here, known = sum(file.here for file in files), sum(file.size or 0 for file in files)
    if all(file.here == file.size for file in files):
        return ok("weights", f"{model}: {len(files)} files, {here / 1e9:.1f} GB")
    is_known = all(file.size is not None for file in files)
    size = (
        f"{here / 1e9:.1f} of {known / 1e9:.1f} GB are here" if is_known else f"{here / 1e9:.1f} GB are here"
    )
    return warning(
        "weights", f"{model}: {size}; the start fetches the rest", f"depthlive models pull {model}"
    )


def size(size: tuple[int, int], problem: str | None) -> Finding:
    """`problem`: why the model makes no pictures of that width and height."""
    if problem is not None:
        return failure("size", problem, "set such a size, or none for the model's own")
    return ok("size", f"pictures are {size[0]}x{size[1]}")


def space_for_weights(missing: int, free: int, folder: str) -> Finding:
    """Bytes that are still to be fetched, and free on the disk of `folder`."""
    text = f"{free / 1e9:.1f} GB are free at {folder}, {missing / 1e9:.1f} GB are to be fetched"
    if missing > free:
        return failure("space_for_weights", text, "free some, or set HF_HOME to a larger disk")
    return ok("space_for_weights", text)


def folder(name: str, path: str, problem: str | None) -> Finding:
    """`name`: the setting; `problem`: why nothing can be written there."""
    if problem is not None:
        return failure(name, f"{path}: {problem}", OWN_FOLDERS_FIX)
    return ok(name, f"{path} can be written")


def space_for_recordings(settings: Settings, free: int) -> Finding:
    """Bytes that are free on the disk of recordings."""
    needed = (settings.max_recordings_mb << 20) + FREE_BYTES
    text = f"{free / 1e9:.1f} GB are free, recordings may take {(settings.max_recordings_mb << 20) / 1e9:.1f}"
    if free < FREE_BYTES:
        return failure("space_for_recordings", text, "free some, or set recordings_dir to a larger disk")
    if free < needed:
        return warning("space_for_recordings", text, "free some, or lower max_recordings_mb")
    return ok("space_for_recordings", text)


def file(name: str, path: str, problem: str | None) -> Finding:
    """A file that a setting names; `problem`: why it cannot be read."""
    if problem is not None:
        return failure(name, f"{path}: {problem}", "give the path of a file that the server's user can read")
    return ok(name, f"{path} can be read")


def ice_server(url: str, problem: str | None, seen_as: str | None) -> Finding:
    """`seen_as`: the address that the server sees, or lends, if it answered."""
    if problem is not None:
        return failure(
            "ice_servers", f"{url}: {problem}", "check its address, its credentials and the firewall"
        )
    return ok("ice_servers", f"{url} answers; seen as {seen_as}" if seen_as else f"{url} answers")


def no_ice_servers(settings: Settings, own: Sequence[str]) -> Finding:
    """Without any, a server that only its own network reaches is of no use to others."""
    if is_loopback(settings.host) and not settings.trusted_proxies:
        return ok("ice_servers", "none are needed on this machine")
    if settings.public_address is not None:
        return ok("ice_servers", "none; clients are told the public address")
    return warning(
        "ice_servers",
        f"none: clients reach {', '.join(own) or 'no address'} directly, or use the page's WebSocket",
        "set public_address, or ice_servers with a TURN server, for clients of other networks",
    )


def clock(now: datetime, installed: datetime) -> Finding:
    """`installed`: when this package's files were written: no clock is right that is before that."""
    if now < installed:
        return failure(
            "clock",
            f"it says {now:%Y-%m-%d %H:%M} UTC, before this version was installed ({installed:%Y-%m-%d})",
            "set it, as by NTP: tokens, TURN credentials and certificates have dates",
        )
    return ok("clock", f"it says {now:%Y-%m-%d %H:%M} UTC")
