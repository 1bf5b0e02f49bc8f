"""Memory of sessions that have ended, given back to the system now and then.

A session, its peer, its tasks and its codecs know each other, and so they stay until Python's garbage
collector comes by. It counts objects, not what these hold: a session at 832x480 leaves some hundred small
ones with 10 to 30 MB of pictures and of codecs' memory, and a hundred sessions may end before it looks at the
oldest. Here it is asked to. What was there when the model was ready is frozen (server/engine/thread.py) and
not looked through, so that takes milliseconds.

Then glibc keeps what each thread has used, and every connection brings threads, codecs and sockets: 100 of
them added 9 MB to a process in which nothing was left of them. Giving back takes milliseconds of a pool's
thread.
"""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

PERIOD_S = 30.0


async def give_back_memory(gone: Callable[[], int]) -> None:
    """For ever. `gone`: how many connections and sessions there were that are gone."""
    trim = malloc_trim()
    before_last = last = gone()
    while True:
        await asyncio.sleep(PERIOD_S)
        now = gone()
        if now != before_last:  # once more the next time: who has just left may still be on the way out
            gc.collect()
        before_last, last = last, now
        if trim is not None:
            await asyncio.to_thread(trim)


def malloc_trim() -> Callable[[], object] | None:
    """That of glibc; None elsewhere."""
    if sys.platform != "linux" or (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is None:
        return None
    return lambda: trim(0)
