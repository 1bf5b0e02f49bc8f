"""Memory that sessions have freed, given back to the system now and then.

glibc keeps what each thread has used, and every connection brings threads, codecs and sockets: 100 of them
added 9 MB to a process in which nothing was left of them. Giving back takes milliseconds of a pool's thread.
"""

import asyncio
import ctypes
import sys
from collections.abc import Callable

PERIOD_S = 30.0


async def give_back_memory() -> None:
    """For ever; returns at once where the C library has no way to."""
    if (trim := malloc_trim()) is None:
        return
    while True:
        await asyncio.sleep(PERIOD_S)
        await asyncio.to_thread(trim)


def malloc_trim() -> Callable[[], object] | None:
    """That of glibc; None elsewhere."""
    if sys.platform != "linux" or (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is None:
        return None
    return lambda: trim(0)
