"""Must run before torch is imported anywhere.

Tiny networks gain nothing from threads, and OpenMP threads that spin while they wait make a shared
machine crawl.
"""

import asyncio
import gc
import os

import hypothesis
import pytest

from tests import garbage
from tests.virtual_time import VirtualTimeLoop

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What collection imports and makes stays to the end: Python's garbage collector would look through it again
# and again, a fifth of the time that collection takes, and then once in every few tests.
gc.disable()

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile(
    "any machine",
    parent=hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")


def pytest_collection_finish():
    garbage.freeze()
    gc.enable()


def pytest_asyncio_loop_factories(config, item):
    """Tests marked so have a clock of their own."""
    is_virtual = item.get_closest_marker("virtual_time") is not None
    return {"virtual": VirtualTimeLoop} if is_virtual else {"real": asyncio.new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Two more than processors: a test that waits for a network, a thread or a browser uses none."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadfile`, but all files that watch a browser are one worker's, one after the other: they share
    a server and a browser, which take more of the machine to start than many a test."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class BrowserFilesTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "e2e" if "tests/e2e/" in nodeid else super()._split_scope(nodeid)

    return BrowserFilesTogether(config, log)
