"""Environment of downloads: variables that the library reads, checked before it stumbles over one."""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from streaming.hub.errors import HubError

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SOCKS = ("socks5", "socks5h")
ADDRESS = re.compile(
    r"(?P<scheme>[a-z0-9]+)://([^/@\s]*@)?(\[[0-9a-fA-F:.]+\]|[^/:@\s\[\]]+)(:(?P<port>[0-9]{1,5}))?(/\S*)?"
)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def require_usable(environment: Mapping[str, str] | None = None) -> None:
    """Raises HubError that names the first variable that cannot work, its value and what is expected."""
    environment = os.environ if environment is None else environment
    if endpoint := environment.get("HF_ENDPOINT"):
        _require_address("HF_ENDPOINT", endpoint, ("https", "http"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        # The library cuts off spaces and line ends around it.
        if not re.fullmatch(r"[\x21-\x7e]*", environment.get(name, "").strip()):
            raise HubError(
                f"{name} (not shown) is no access token: expected letters of ASCII, without spaces"
            )
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        if proxy := environment.get(name):
            _require_proxy(name, proxy)
    for name in CERTIFICATES:
        if (path := environment.get(name)) and not Path(path).exists():
            raise HubError(f"{name} is {path!r}: expected certificates, and there is nothing")


def _require_proxy(name: str, value: str) -> None:
    # Without a scheme the library takes it for http://.
    _require_address(name, value if "://" in value else f"http://{value}", ("http", "https", *SOCKS))
    if value.startswith(SOCKS) and find_spec("socksio") is None:
        raise HubError(
            f"{name} is {_shown(value)}: a SOCKS proxy needs the package socksio, which is not installed "
            "(`pip install socksio`); or expected http://host:port"
        )


def _require_address(name: str, value: str, schemes: tuple[str, ...]) -> None:
    found = ADDRESS.fullmatch(value)
    if not found or found["scheme"] not in schemes or int(found["port"] or 0) > 65535:
        raise HubError(f"{name} is {_shown(value)}: expected {' or '.join(schemes)}://host:port")


def _shown(value: str) -> str:
    """Without the password that an address may hold."""
    return repr(re.sub(r"//[^/@]*@", "//...@", value))
