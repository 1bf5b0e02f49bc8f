"""`python -m tests.e2e.loopback_server FLAGS`: the real server with its ICE on 127.0.0.1.

aioice leaves loopback out of its candidates, and a machine that runs tests may have no other interface.
The built-in model makes smaller pictures here, in one step: browser, server and two test processes share
the machine.
"""

import sys
from dataclasses import replace

import aioice.ice

from server.cli import app
from streaming.checkpoints.presets import EMBEDDED, PRESETS

HEIGHT, WIDTH = 48, 80
STEPS = (1000,)


def only_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ["127.0.0.1"]


if __name__ == "__main__":
    aioice.ice.get_host_addresses = only_loopback
    sampler = replace(EMBEDDED.sampler, denoising_step_list=STEPS)
    PRESETS[EMBEDDED.name] = replace(EMBEDDED, height=HEIGHT, width=WIDTH, sampler=sampler)
    app(["serve", *sys.argv[1:]])
