import asyncio

import numpy as np
import pytest

from server.live.on_air import OffAir, OnAir

RGB = np.zeros((2, 2, 3), np.uint8)


async def test_who_comes_late_sees_the_newest_at_once():
    on_air = OnAir()
    on_air.put(RGB, 100)
    on_air.put(RGB, 200)
    assert (await on_air.after(0)).pts == 200


async def test_who_is_slow_misses_pictures_and_nobody_waits_for_them():
    on_air = OnAir()
    seen = {"quick": [], "slow": []}

    async def watch(name: str, seconds: float) -> None:
        number = 0
        while True:
            aired = await on_air.after(number)
            number = aired.number
            seen[name].append(aired.pts)
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(watch("quick", 0)), asyncio.create_task(watch("slow", 3600))]
    for pts in range(5):
        on_air.put(RGB, pts)
        for _ in range(4):
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == {"quick": [0, 1, 2, 3, 4], "slow": [0]}


async def test_the_end_is_told_to_who_waits_and_to_who_comes():
    on_air = OnAir()
    on_air.put(RGB, 0)
    waiting = asyncio.create_task(on_air.after(1))
    await asyncio.sleep(0)
    on_air.end()
    with pytest.raises(OffAir):
        await waiting
    with pytest.raises(OffAir):
        await on_air.after(0)
