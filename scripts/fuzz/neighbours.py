"""Neighbours of an attack: two who stream meanwhile, in a process of their own, and count what they see."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import SynchronizedArray
from typing import TypeAlias

from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.webrtc import BenchClient
from scripts.bench.clients.websocket import BenchSocketClient

WAYS = ("WebSocket", "WebRTC")
SIZE, FPS = (160, 120), 6.0
FOR_EVER_S, PATIENCE_S, LOOK_S = 1e6, 120.0, 0.1

Counts: TypeAlias = "SynchronizedArray[int]"


@contextmanager
def streaming(url: str) -> Iterator[Counts]:
    """Generated pictures that each of WAYS has been shown so far; they stream until the end.

    Raises ConnectionError unless both see pictures within PATIENCE_S.
    """
    context = multiprocessing.get_context("spawn")
    counts: Counts = context.Array("Q", len(WAYS))
    process = context.Process(target=_stream, args=(url, counts), daemon=True)
    process.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not all(counts[:]):
            if time.monotonic() > deadline or not process.is_alive():
                raise ConnectionError("the neighbours see no pictures")
            time.sleep(LOOK_S)
        yield counts
    finally:
        process.terminate()
        process.join()


def _stream(url: str, counts: Counts) -> None:
    asyncio.run(_both(url, counts))


async def _both(url: str, counts: Counts) -> None:
    clients = [make(url, NumberedCamera(*SIZE, FPS)) for make in (BenchSocketClient, BenchClient)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run(FOR_EVER_S, (), PATIENCE_S))
        while True:
            await asyncio.sleep(LOOK_S)
            for number, client in enumerate(clients):
                arrivals = client.recording.arrivals
                counts[number] += sum(arrival.is_generated for arrival in arrivals)
                arrivals.clear()
