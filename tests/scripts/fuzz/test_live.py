"""Attack on a live server, the shortest: one input of each kind, beside neighbours, in a namespace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench.servers import alone
from scripts.bench.servers.alone import INSIDE, UNSHARE
from scripts.fuzz import live
from scripts.fuzz.attacks import ATTACKS
from tests.namespaces import has_namespaces

ROOT = Path(__file__).parents[3]
LIMIT_S = 400.0  # generous: the machine may be slow, and busy


@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="this machine lets nobody make a network namespace")
def test_every_kind_of_input_is_sent_to_a_live_server_beside_neighbours(tmp_path):
    kept, file = tmp_path / "kept", tmp_path / "live.json"
    flags = [
        "--count", "1", "--least-s", "0", "--alone-s", "0", "--server-args", "--depth edges",
        "--keep", str(kept), "--json", str(file),
    ]  # fmt: skip
    done = subprocess.run(
        # In it from the start: the command would import everything twice.
        [*UNSHARE, "sh", "-c", INSIDE, sys.executable, "-m", "scripts.fuzz.live", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [row["name"] for row in rows] == ["alone", *ATTACKS, "alone"]
    for row in rows[1:-1]:
        assert row["sent"] >= 1 and not row["faults"] and not row["tracebacks"], row
        assert all(seconds >= 0 for seconds in row["cpu"])
    assert all(sum(row["fps"][way] * row["took_s"] for row in rows) > 0 for way in range(2)), (
        "neighbours stream"
    )
    for name in ATTACKS:
        assert f"\n{name} " in done.stdout


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'unshare: not permitted' >&2\nexit 1\n", "unshare: not permitted"),
        (None, "No such file or directory"),
    ],
)
def test_law_without_a_network_namespace_nothing_is_sent_and_it_says_so(
    tmp_path, monkeypatch, script, reason
):
    if script is not None:
        (tmp_path / "unshare").write_text(script)
        (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(alone, "has_only_loopback", lambda: False)
    with pytest.raises(SystemExit) as ended:
        live.main(keep=tmp_path / "kept")
    assert ended.value.code == (
        f"unshare -rn: {reason}; this runs in a network namespace of Linux alone, and none is to be had"
    )
    assert not (tmp_path / "kept").exists()
