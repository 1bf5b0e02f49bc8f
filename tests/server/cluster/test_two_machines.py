"""Ray's own nodes: where the journal of a worker's sessions is, and what is left when a node is lost."""

import json
import subprocess
import sys

import pytest

from tests.server.cluster.with_ray import NEEDS_RAY
from tests.test_imports import ROOT

pytestmark = NEEDS_RAY

LIMIT_S = 600.0


@pytest.fixture(scope="module")
def seen() -> dict:
    """Of a cluster with two nodes; a process of its own, since Ray lasts as long as one."""
    command = [sys.executable, "-m", "tests.server.cluster.two_machines"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_law_the_journal_of_a_session_is_not_on_the_machine_of_its_worker(seen):
    first, second = seen["nodes"]["first"], seen["nodes"]["second"]
    assert seen["kept"] == {first: ["second"], second: ["first"]}


def test_law_a_session_goes_on_from_a_journal_that_the_lost_machine_did_not_have(seen):
    assert seen["goes_on"] is True
