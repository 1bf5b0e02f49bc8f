"""`python -m tests.e2e.loopback_server FLAGS`: the real server with its ICE on 127.0.0.1.

aioice leaves loopback out of its candidates, and a machine that runs tests may have no other interface.
"""

import sys

import aioice.ice

from server.cli import app


def only_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ["127.0.0.1"]


if __name__ == "__main__":
    aioice.ice.get_host_addresses = only_loopback
    app(["serve", *sys.argv[1:]])
