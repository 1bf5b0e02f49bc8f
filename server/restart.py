"""Restart of a server whose model is lost: a fresh process in place of this one, with the same number.

A thread that hangs cannot be ended, and what it holds, weights on a GPU among it, is free when its process
has ended; nor does a CUDA error that stays go away before. So the process is replaced as a whole.
"""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from enum import Enum
from typing import NoReturn

from server.engine.client import EngineClient

logger = logging.getLogger(__name__)

NOTICE_S = 1.0  # for what clients are told to reach them
PERIOD_S = 60.0  # at least, from a model that got ready to the next start


class End(Enum):
    """How a server has ended."""

    STOPPED = "stopped"
    THREAD_LEFT = "thread left"  # stopped, but for the model's thread
    LOST = "lost"  # the model is, and a restart is due


async def stopped_or_lost(stopped: asyncio.Event, engine: EngineClient, *, restarts: bool) -> bool:
    """Wait until `stopped`, or, if it `restarts`, until the model is lost and a restart is due: then True.

    A model that is lost again and again is started once in PERIOD_S: meanwhile nobody is let in.
    """
    lost, now = asyncio.Event(), asyncio.get_running_loop().time

    def look() -> None:
        if engine.is_lost and restarts:
            lost.set()

    async def due() -> None:
        await lost.wait()
        wait = max(NOTICE_S, (engine.ready_at or 0.0) + PERIOD_S - now())
        logger.critical("The model is lost; the server starts again in %.0f s", wait)
        await asyncio.sleep(wait)

    unsubscribe = engine.subscribe(look)
    ends = [asyncio.create_task(stopped.wait()), asyncio.create_task(due())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        unsubscribe()
        for end in ends:
            end.cancel()
    return not stopped.is_set()


def start_again() -> NoReturn:
    """Become a fresh process with the same command line, environment and number."""
    logger.warning("Starting again")
    _close_logs()
    # A library may have opened a file, a GPU's among them, without asking that it be closed now.
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor > 2:
            with suppress(OSError):  # that of the list itself
                os.set_inheritable(descriptor, False)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def leave_at_once() -> NoReturn:
    """End this process in which a thread is at work in native code, and would be under what is torn down."""
    _close_logs()
    os._exit(0)


def _close_logs() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
