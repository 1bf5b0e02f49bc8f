import asyncio

import numpy as np
import pytest

from server.live.broadcast import Broadcast, BroadcastEnded

RGB = np.zeros((2, 2, 3), np.uint8)


async def test_who_comes_late_sees_the_newest_at_once():
    broadcast = Broadcast()
    broadcast.put(RGB, 100)
    broadcast.put(RGB, 200)
    assert (await broadcast.after(0)).pts == 200


async def test_who_is_slow_misses_pictures_and_nobody_waits_for_them():
    broadcast = Broadcast()
    seen = {"quick": [], "slow": []}

    async def watch(name: str, seconds: float) -> None:
        number = 0
        while True:
            frame = await broadcast.after(number)
            number = frame.number
            seen[name].append(frame.pts)
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(watch("quick", 0)), asyncio.create_task(watch("slow", 3600))]
    for pts in range(5):
        broadcast.put(RGB, pts)
        for _ in range(4):
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == {"quick": [0, 1, 2, 3, 4], "slow": [0]}


async def test_the_end_is_told_to_who_waits_and_to_who_comes():
    broadcast = Broadcast()
    broadcast.put(RGB, 0)
    waiting = asyncio.create_task(broadcast.after(1))
    await asyncio.sleep(0)
    broadcast.end()
    with pytest.raises(BroadcastEnded):
        await waiting
    with pytest.raises(BroadcastEnded):
        await broadcast.after(0)
