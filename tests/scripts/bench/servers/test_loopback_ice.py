"""ICE on a machine without a network: 127.0.0.1 is offered there, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import aioice.ice
import pytest

from scripts.bench.servers.loopback_ice import ice_on_loopback, module_command

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("there", [[], ["192.0.2.7"]])
def test_loopback_is_offered_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch, there: list[str]
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: there)
    with ice_on_loopback():
        assert aioice.ice.get_host_addresses(True, True) == (there or ["127.0.0.1"])
    assert aioice.ice.get_host_addresses(True, True) == there
    assert ("scripts.bench.servers.loopback_ice" in module_command("server")) is (not there)


def test_a_module_runs_through_it_with_its_own_arguments(tmp_path: Path) -> None:
    """`ifaddr` finds nothing there, as on a machine with loopback alone."""
    (tmp_path / "ifaddr.py").write_text("get_adapters = lambda: []\n")
    (tmp_path / "told.py").write_text(
        "import sys, aioice.ice\nprint(__name__, sys.argv[1:], aioice.ice.get_host_addresses(True, True))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.servers.loopback_ice", "told", "--port", "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "__main__ ['--port', '7'] ['127.0.0.1']\n", done.stderr
