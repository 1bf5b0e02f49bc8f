"""Relay between two namespaces, really: datagrams go through it as its shapers say, and nothing else does."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.bench.networks.relay import TUN
from scripts.bench.servers.alone import INSIDE, UNSHARE
from tests.namespaces import has_namespaces
from tests.scripts.bench.networks.link import COUNT, TRIED

ROOT = Path(__file__).parents[4]
LIMIT_S = 120.0  # generous: the machine may be slow, and busy


@pytest.mark.skipif(not has_namespaces(), reason="this machine lets nobody make a network namespace")
@pytest.mark.skipif(not os.access(TUN, os.R_OK | os.W_OK), reason=f"this machine has no {TUN} to open")
def test_a_relay_between_two_namespaces_does_to_datagrams_what_it_is_told():
    module = "tests.scripts.bench.networks.link"
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", INSIDE, sys.executable, "-m", module],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == list(TRIED)
    everything = list(range(COUNT))
    for name in ("clean", "delay", "clean again"):
        assert found[name]["came"] == everything and not found[name]["lost"], name
    delay = TRIED["delay"]
    assert min(found["delay"]["took"]) >= 2 * (delay.delay_s - delay.jitter_s)
    assert len(found["loss"]["came"]) == COUNT - found["loss"]["lost"]
    assert 0 < len(found["loss"]["came"]) < COUNT
    assert all(earlier < later for earlier, later in pairwise(found["loss"]["came"]))
    assert found["outage"]["came"] == [] and found["outage"]["lost"] == COUNT
