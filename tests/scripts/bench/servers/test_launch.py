"""What a benchmark starts ends with it: with real processes, and a stand-in for the server."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from scripts.bench.servers.launch import ROOT, SIGNALS, ended_by_signals
from tests.scripts.bench.processes import is_alive, wait_until

PATIENCE_S = 60.0  # that no busy machine misses

WAYS = {
    "waiting": "time.sleep(3600)",
    "in an event loop": "asyncio.run(asyncio.sleep(3600))",
}
BENCHMARK = """
import asyncio, sys, time
from pathlib import Path
from scripts.bench.servers import launch

launch.module_command = lambda module: [sys.executable, "-m", "tests.scripts.bench.fake_server"]
launch.HURRY_LIMIT_S = 0.2
with launch.started("server", *sys.argv[2:], log_file=Path(sys.argv[1])):
    print("ready", flush=True)
    {way}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("way", WAYS)
def test_a_server_ends_with_the_benchmark_that_a_signal_ends(tmp_path, number, way):
    """Also one that Ctrl-C does not end, and whatever is of its group."""
    log, code = tmp_path / "log", BENCHMARK.format(way=WAYS[way])
    command = [sys.executable, "-c", code, str(log), *(["--stubborn"] if way == "waiting" else [])]
    pids: list[int] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as benchmark:
        try:
            assert benchmark.stdout is not None and benchmark.stdout.readline() == b"ready\n"
            pids += map(int, log.read_text().splitlines()[0].split())
            assert len(pids) == 2, "the server and its child"
            benchmark.send_signal(number)
            assert benchmark.wait(PATIENCE_S) == 128 + number
            assert wait_until(lambda: not any(map(is_alive, pids)))
        finally:
            benchmark.kill()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_signals_are_heard_in_the_block_alone():
    with pytest.raises(SystemExit) as end, ended_by_signals(), ended_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 128 + signal.SIGTERM
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)


def test_a_signal_that_is_heard_or_ignored_goes_where_it_did():
    heard = []
    usual = signal.signal(signal.SIGTERM, lambda *_: heard.append("TERM"))
    usual_hup = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
        assert heard == ["TERM"] and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, usual)
        signal.signal(signal.SIGHUP, usual_hup)


async def test_a_thread_that_hears_no_signals_leaves_them_alone():
    def block() -> object:
        assert threading.current_thread() is not threading.main_thread()
        with ended_by_signals():
            return signal.getsignal(signal.SIGTERM)

    assert await asyncio.to_thread(block) is signal.SIG_DFL
