"""ICE candidates of the other side: how one is read, how many are taken, which addresses may be tried.

Whoever names a candidate has this server send datagrams there. So they are few, and some addresses are never
tried: a client could otherwise have them knocked at from within.
"""

import ipaddress
import re
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiortc import RTCIceCandidate

from server.client_address import client_address
from server.settings import Settings

MAX_CANDIDATES = 64  # of one ICE session, however many requests they come in; a browser sends about ten
MDNS_NAME = re.compile(r"[A-Za-z0-9-]{1,63}\.local")  # a browser's way to hide an address
CANDIDATE = re.compile(
    r"(?P<foundation>[!-~]{1,32}) +(?P<component>[0-9]{1,3}) +(?P<protocol>[A-Za-z0-9-]{1,16})"
    r" +(?P<priority>[0-9]{1,10}) +(?P<address>[!-~]{1,255}) +(?P<port>[0-9]{1,5})"
    r" +typ +(?P<type>host|srflx|prflx|relay)(?: .*)?"
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def _networks(*texts: str) -> Networks:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Unspecified, link-local, multicast, reserved, broadcast.
NEVER = _networks("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8")
LOOPBACK = _networks("127.0.0.0/8", "::1/128")
PRIVATE = _networks("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")
# IPv6 addresses that mean an IPv4 one: compatible (RFC 4291), NAT64 (RFC 6052). Its last 32 bits are that.
EMBEDDING = _networks("::/96", "64:ff9b::/96")


def read_candidate(value: str) -> RTCIceCandidate:
    """The candidate of an `a=candidate` line, without the line's name. Raises ValueError for what is none."""
    found = CANDIDATE.fullmatch(value.strip())
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError("this is no candidate")
    if not MDNS_NAME.fullmatch(found["address"]):
        ipaddress.ip_address(found["address"])
    return RTCIceCandidate(
        component=int(found["component"]),
        foundation=found["foundation"],
        ip=found["address"],
        port=int(found["port"]),
        priority=int(found["priority"]),
        protocol=found["protocol"].lower(),
        type=found["type"],
    )


def is_usable(candidate: RTCIceCandidate) -> bool:
    """Whether aioice can try it: RTP and RTCP share one component, and there is no ICE over TCP."""
    return candidate.protocol.lower() == "udp" and candidate.component == 1


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses of the other side may be tried."""

    loopback: bool  # this machine's own: for a client that is on it
    private: bool  # of the networks that this machine is in

    def __call__(self, text: str) -> bool:
        """Whether this IP address may be; False for what is none."""
        try:
            address = _plain(ipaddress.ip_address(text))
        except ValueError:
            return False
        if _is_in(address, LOOPBACK):
            return self.loopback
        if _is_in(address, PRIVATE):
            return self.private
        return not _is_in(address, NEVER)


def address_rule(request: web.Request, settings: Settings) -> AddressRule:
    """For a client that sends this request.

    It is on this machine if its request came over loopback, and not through a proxy that says so.
    """
    is_forwarded = any(name in request.headers for name in (hdrs.X_FORWARDED_FOR, hdrs.FORWARDED, hdrs.VIA))
    try:
        is_local = _is_in(_plain(ipaddress.ip_address(client_address(request))), LOOPBACK)
    except ValueError:  # a Unix socket: whoever connects there is a proxy
        is_local = False
    return AddressRule(loopback=is_local and not is_forwarded, private=settings.private_candidates)


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    short = address.ipv4_mapped or address.sixtofour
    if short is None and int(address) > 1 and _is_in(address, EMBEDDING):
        short = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return short or address


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
