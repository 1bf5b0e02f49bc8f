"""The watch: what ends it, what it tries again, and how soon."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from server.virtual_camera import watch as module
from server.virtual_camera.watch import MOST_DELAY_S, SessionOver, watch
from server.virtual_camera.whep_client import WatchLost, WatchRefused

pytestmark = pytest.mark.virtual_time

CONNECTED = "connected"  # for a second


class Server:
    """What each try meets; the last for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *meets: object) -> None:
        self._meets = list(meets)
        self.at: list[float] = []
        monkeypatch.setattr(module, "watching", self.watching)

    @asynccontextmanager
    async def watching(self, http, address, show):
        self.at.append(asyncio.get_running_loop().time())
        met = self._meets.pop(0) if len(self._meets) > 1 else self._meets[0]
        if isinstance(met, Exception):
            raise met
        gone = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, gone.set)
        yield gone

    @property
    def delays(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


async def watched(told: list[str] | None = None) -> None:
    tell = (lambda words: None) if told is None else told.append
    await watch(None, "http://x/whep", lambda frame: None, tell)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "problem", [WatchRefused(404, "no such session"), WatchRefused(503, "full"), WatchLost("unreachable")]
)
async def test_what_does_not_even_begin_is_told_at_once(monkeypatch, problem):
    server = Server(monkeypatch, problem)
    with pytest.raises(type(problem)):
        await watched()
    assert len(server.at) == 1


async def test_law_after_a_loss_it_tries_for_ever_ever_later_up_to_a_bound(monkeypatch):
    server, told = Server(monkeypatch, CONNECTED, WatchLost("unreachable")), []
    task = asyncio.create_task(watched(told))
    await asyncio.sleep(3600)
    assert server.delays[:6] == [2, 2, 4, 8, 15, 15]  # the first is a second of watching, and one of waiting
    assert set(server.delays[6:]) == {MOST_DELAY_S} and len(server.delays) > 200
    assert told[:3] == [
        "watching",
        "the connection is lost; trying again in 1 s",
        "unreachable; trying again in 2 s",
    ]
    task.cancel()


async def test_a_connection_begins_the_delays_anew(monkeypatch):
    lost = WatchLost("unreachable")
    server = Server(monkeypatch, CONNECTED, lost, lost, lost, CONNECTED, lost)
    task = asyncio.create_task(watched())
    await asyncio.sleep(20)
    assert server.delays[:5] == [2, 2, 4, 8, 2]
    task.cancel()


async def test_it_waits_as_long_as_the_server_says_within_the_bound(monkeypatch):
    busy, away = WatchRefused(503, "full", 7), WatchRefused(503, "full", 9999)
    server = Server(monkeypatch, CONNECTED, busy, away, CONNECTED)
    task = asyncio.create_task(watched())
    await asyncio.sleep(30)
    assert server.delays[1:3] == [7, MOST_DELAY_S]
    task.cancel()


async def test_a_session_that_is_not_found_for_a_minute_is_over(monkeypatch):
    server = Server(monkeypatch, CONNECTED, WatchRefused(404, "no such session"))
    with pytest.raises(SessionOver):
        await watched()
    assert module.GONE_S < server.at[-1] - server.at[0] < module.GONE_S + 2 * MOST_DELAY_S


async def test_a_session_that_moved_meanwhile_is_watched_on(monkeypatch):
    server = Server(monkeypatch, CONNECTED, *[WatchRefused(404, "no such session")] * 4, CONNECTED)
    task = asyncio.create_task(watched())
    await asyncio.sleep(50)
    assert not task.done() and len(server.at) > 5
    task.cancel()


async def test_who_may_not_watch_any_more_is_told(monkeypatch):
    Server(monkeypatch, CONNECTED, WatchRefused(401, "the token has expired"))
    with pytest.raises(WatchRefused, match="expired"):
        await watched()
