import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.virtual_time import Gate, JobQueue, VirtualTimeLoop, sleep

pytestmark = pytest.mark.virtual_time


async def test_time_passes_in_the_order_of_timers_and_takes_none():
    loop, order, began = asyncio.get_running_loop(), [], time.monotonic()

    async def after(seconds):
        await asyncio.sleep(seconds)
        order.append((seconds, loop.time() - start))

    start = loop.time()
    await asyncio.gather(*map(after, (3600, 1, 60)))
    assert order == [(n, pytest.approx(n, abs=1e-6)) for n in (1, 60, 3600)]
    assert time.monotonic() - began < 3600


async def test_the_clock_stands_still_while_a_thread_is_at_work():
    loop = asyncio.get_running_loop()
    start, ticks = loop.time(), []

    async def tick():
        while True:
            await asyncio.sleep(0.01)
            ticks.append(loop.time())

    ticking = asyncio.create_task(tick())
    await asyncio.to_thread(time.sleep, 0.05)
    assert loop.time() == start and not ticks
    ticking.cancel()


async def test_a_thread_that_sleeps_here_takes_exactly_so_long():
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.gather(*(asyncio.to_thread(sleep, seconds) for seconds in (7, 5)))
    assert loop.time() - start == pytest.approx(7)


async def test_time_passes_while_a_thread_is_at_a_gate_and_not_after_it_was_let_through():
    loop, gate, passed = asyncio.get_running_loop(), Gate(), []

    def work():
        gate.wait()
        time.sleep(0.05)
        passed.append(threading.current_thread())

    working = asyncio.create_task(asyncio.to_thread(work))
    await asyncio.sleep(10)
    assert not passed
    gate.set()
    at = loop.time()
    await asyncio.sleep(0.001)
    assert passed and loop.time() == pytest.approx(at + 0.001)
    await working


async def test_a_thread_is_at_work_until_it_asks_for_a_job_that_is_not_there():
    """What it does after a job has been answered is counted, at a gate neither more nor less than before."""
    loop, gate, worked = asyncio.get_running_loop(), Gate(), []
    jobs = JobQueue(loop)

    def work():
        while (job := jobs.get()) is not None:
            loop.call_soon_threadsafe(job.set_result, None)
            gate.wait()
            time.sleep(0.05)
            worked.append(job)

    thread = threading.Thread(target=work)
    thread.start()
    first, second = loop.create_future(), loop.create_future()
    jobs.put(first)
    jobs.put(second)
    await first
    await asyncio.sleep(10)
    assert not worked
    gate.set()
    await asyncio.sleep(0.001)
    assert worked == [first, second]
    assert loop.at_work == 0
    jobs.put(None)
    thread.join()
    assert loop.at_work == 0


async def test_a_thread_that_ends_without_asking_is_given_up():
    loop = asyncio.get_running_loop()
    jobs = JobQueue(loop)
    assert loop.at_work == 1
    jobs.put(loop.create_future())
    jobs.given_up()
    assert loop.at_work == 1
    assert jobs.get_nowait() is not None
    assert loop.at_work == 0


def test_a_loop_that_closes_waits_for_its_threads_however_long_they_take():
    class Slow(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            if wait:
                time.sleep(0.1)
            super().shutdown(wait, cancel_futures=cancel_futures)
            ended.append(wait)

    async def begin():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Slow())
        await loop.run_in_executor(None, int)

    ended = []
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(begin())
    assert ended[0]
