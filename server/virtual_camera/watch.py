"""Watch over a session: watched again after each loss, until it is over."""

import asyncio
from collections.abc import Callable

import aiohttp
from av import VideoFrame

from server.virtual_camera.whep_client import WatchLost, WatchRefused, watching

FIRST_DELAY_S, MOST_DELAY_S = 1.0, 15.0  # between two tries: twice as long each time
GONE_S = 60.0  # a session that was there and is not found for so long is over: it may have been moving
NOT_FOUND = 404
MAY_PASS = {NOT_FOUND, 408, 425, 429, 500, 502, 503, 504}  # what a later try may not meet


class SessionOver(Exception):
    """There was one, and it has ended."""


async def watch(
    http: aiohttp.ClientSession,
    address: str,
    show: Callable[[VideoFrame], None],
    tell: Callable[[str], None],
) -> None:
    """Hand each picture of the session to `show`, and say what happens by `tell`.

    Raises SessionOver in the end. What keeps it from watching at all, WatchRefused or WatchLost, is raised
    at once; later on, only a refusal that will not pass.
    """
    now = asyncio.get_running_loop().time
    has_watched, tries = False, 0
    seen = now()  # when the session was last known to be there
    while True:
        wait = None
        try:
            async with watching(http, address, show) as gone:
                has_watched, tries = True, 0
                tell("watching")
                await gone.wait()
            seen = now()
            problem = "the connection is lost"
        except WatchRefused as refused:
            if not has_watched or refused.status not in MAY_PASS:
                raise
            if refused.status != NOT_FOUND:
                seen = now()
            elif now() - seen > GONE_S:
                raise SessionOver(str(refused)) from refused
            problem, wait = f"refused: {refused}", refused.retry_after
        except WatchLost as lost:
            if not has_watched:
                raise
            seen = now()  # nobody has said that it is over
            problem = str(lost)
        delay = min(MOST_DELAY_S, max(FIRST_DELAY_S * 2**tries, wait or 0.0))
        tries = min(tries + 1, 10)
        tell(f"{problem}; trying again in {delay:g} s")
        await asyncio.sleep(delay)
