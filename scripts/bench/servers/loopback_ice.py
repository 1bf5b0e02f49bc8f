"""ICE on 127.0.0.1, for a machine that has no other interface: aioice leaves loopback out of its candidates.

with ice_on_loopback(): ...                              # in this process
python -m scripts.bench.servers.loopback_ice server --port 8080        # `python -m server --port 8080`, so

Only benchmarks do this, both peers being here; where there is another interface it changes nothing.
"""

import contextlib
import runpy
import sys
from collections.abc import Iterator

import aioice.ice

LOOPBACK = "127.0.0.1"


def has_only_loopback() -> bool:
    """Whether aioice would find no address at all to offer."""
    return not aioice.ice.get_host_addresses(True, True)


@contextlib.contextmanager
def ice_on_loopback() -> Iterator[None]:
    """Connections that gather candidates meanwhile offer 127.0.0.1, if there is nothing else."""
    usual = aioice.ice.get_host_addresses
    offer_loopback()
    try:
        yield
    finally:
        aioice.ice.get_host_addresses = usual


def offer_loopback() -> None:
    """From now on, in this process, connections offer 127.0.0.1, if there is nothing else."""
    if has_only_loopback():
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [LOOPBACK]


def module_command(module: str) -> list[str]:
    """What starts `module` in a process of its own, which offers 127.0.0.1 if there is nothing else."""
    through = ["scripts.bench.servers.loopback_ice"] if has_only_loopback() else []
    return [sys.executable, "-m", *through, module]


if __name__ == "__main__":
    del sys.argv[0]  # the module's own name stands where it looks for its arguments
    with ice_on_loopback():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
