"""Network addresses of this machine, and which of them only it can reach."""

import ipaddress

import ifaddr

WILDCARDS = ("", "0.0.0.0", "::")


def is_loopback(host: str) -> bool:
    """Whether a host name or address, as in a bind or a Host header, stands for this machine alone.

    `localhost` and the names below it are (RFC 6761); no other name is looked up.
    """
    name = host.removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_addresses() -> list[str]:
    """Addresses at which other machines may reach this one, IPv4 first; no loopback, no link-local ones."""
    found = [
        ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    others = {address for address in found if not (address.is_loopback or address.is_link_local)}
    return [str(address) for address in sorted(others, key=lambda address: (address.version, address.packed))]


def in_url(host: str) -> str:
    """As it stands in an address of the web: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
