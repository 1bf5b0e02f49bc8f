"""What is freed is given back, on any C library without harm."""

import asyncio
import subprocess
import sys

import pytest

import server.memory
from server.memory import PERIOD_S, give_back_memory, malloc_trim

FRAGMENTED = """
from pathlib import Path
from server.memory import malloc_trim
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
held = [bytearray(b"x" * 60_000) for _ in range(2000)]
kept = held[::100]  # so that malloc cannot give back all behind them by itself
del held
before = resident()
malloc_trim()()
print(before - resident())
"""


@pytest.mark.virtual_time
async def test_law_what_was_freed_is_given_back_twice_a_minute(monkeypatch):
    given: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(server.memory, "malloc_trim", lambda: lambda: given.append(loop.time()))
    began, giving = loop.time(), asyncio.create_task(give_back_memory())
    await asyncio.sleep(4 * PERIOD_S + 1)
    giving.cancel()
    assert [at - began for at in given] == pytest.approx([PERIOD_S * n for n in (1, 2, 3, 4)])


async def test_where_it_cannot_be_given_back_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    await give_back_memory()


@pytest.mark.skipif(malloc_trim() is None, reason="this C library keeps it")
def test_law_pages_that_nobody_uses_go_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000, "kB, of 120 MB"


async def test_a_server_gives_back_memory(server):
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert names.count("give_back_memory") == (malloc_trim() is not None)
