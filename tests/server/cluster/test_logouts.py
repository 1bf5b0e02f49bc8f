"""Logins of a cluster with several gateways: which of them is good where, whatever is lost."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest

from server.access.tokens import Grant, SignedTokens, Tokens
from server.access.validity import Login
from server.cluster.logouts import SHARE_S, SharedLogouts
from server.cluster.placement_actor import RayPlacement
from server.settings import Settings, load_settings
from tests.server.cluster.standing_in import SECRET, Actor, ActorGone, Handle, started_gateway
from tests.server.running import PATIENCE_S

SECRET_OF_USERS = b"0123456789abcdef" * 4
TOKEN = SignedTokens(SECRET_OF_USERS).make(Grant("ann", "publish"))


class Gateways:
    """Each as a process of its own, and a page that logs in."""

    def __init__(self, stack: AsyncExitStack, settings: Settings) -> None:
        self._stack, self._settings = stack, settings
        self.actor = Actor(asyncio.get_running_loop().time)
        self.is_placement_there = True

    def find(self) -> Handle:
        if not self.is_placement_there:
            raise ActorGone
        return self.actor.find()

    def lose_placement(self) -> None:
        self.actor.end()
        self.is_placement_there = False

    async def start(self) -> "Gateways":
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        )
        return self

    async def begin(self) -> str:
        """Its address."""
        port = await started_gateway(self._stack, self._settings, RayPlacement(self.find, (ActorGone,)))
        return f"http://127.0.0.1:{port}"

    async def login(self, url: str) -> dict[str, str]:
        """What the page shows from then on."""
        async with self._http.post(f"{url}/login", json={"token": TOKEN}) as response:
            assert response.status == 204
            return {"Cookie": f"depthlive={response.cookies['depthlive'].value}"}

    async def logout(self, url: str, shown: dict[str, str]) -> int:
        async with self._http.post(f"{url}/logout", headers=shown) as response:
            return response.status

    async def is_good(self, url: str, shown: dict[str, str]) -> bool:
        """404: there is no such session, but one may ask."""
        async with self._http.get(f"{url}/sessions/none", headers=shown) as response:
            assert response.status in (401, 404)
            return response.status == 404

    async def until_refused(self, url: str, shown: dict[str, str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.is_good(url, shown):  # noqa: ASYNC110 -- of other objects
                await asyncio.sleep(0.05)


@pytest.fixture
async def gateways(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET_OF_USERS)
    settings = load_settings({"auth_secret_file": tmp_path / "secret"})
    async with AsyncExitStack() as stack:
        yield await Gateways(stack, settings).start()


async def test_law_a_login_at_one_gateway_is_good_at_all_and_so_is_a_logout(gateways):
    first, second = await gateways.begin(), await gateways.begin()
    mine, others = await gateways.login(first), await gateways.login(second)
    for url in (first, second, await gateways.begin()):
        assert await gateways.is_good(url, mine) and await gateways.is_good(url, others)
    assert await gateways.logout(second, mine) == 204
    assert not await gateways.is_good(second, mine)
    await gateways.until_refused(first, mine)
    assert await gateways.is_good(first, others)
    third = await gateways.begin()
    assert not await gateways.is_good(third, mine) and await gateways.is_good(third, others)


async def test_law_a_placement_that_begins_anew_forgets_no_logout(gateways):
    first = await gateways.begin()
    ended, mine = await gateways.login(first), await gateways.login(first)
    assert await gateways.logout(first, ended) == 204
    gateways.actor.end()
    assert await gateways.is_good(first, mine) and not await gateways.is_good(first, ended)
    async with asyncio.timeout(PATIENCE_S):  # until it has been told
        while gateways.actor.num_made < 2 or not (await gateways.actor.client().logouts("")).ended:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    second = await gateways.begin()
    assert await gateways.is_good(second, mine) and not await gateways.is_good(second, ended)


async def test_law_where_all_that_knew_is_lost_so_are_all_logins(gateways):
    mine = await gateways.login(await gateways.begin())
    gateways.actor = Actor(asyncio.get_running_loop().time)
    again = await gateways.begin()
    assert not await gateways.is_good(again, mine)
    assert await gateways.is_good(again, await gateways.login(again))


async def test_a_logout_that_cannot_be_told_is_asked_for_again(gateways, monkeypatch):
    monkeypatch.setattr("server.cluster.placement_actor.PAUSE_S", 0.0)
    first = await gateways.begin()
    mine = await gateways.login(first)
    gateways.lose_placement()
    assert await gateways.logout(first, mine) == 503
    assert not await gateways.is_good(first, mine)  # here it has ended
    gateways.is_placement_there = True
    assert await gateways.logout(first, mine) == 204
    assert (await gateways.actor.client().logouts("")).ended


@pytest.mark.virtual_time
async def test_law_who_knows_the_same_asks_for_nothing_more():
    calls = list[str]()

    class Place:
        async def logouts(self, known):
            calls.append("logouts")
            return await service.logouts(known)

        async def learn_logouts(self, told):
            calls.append("learn")
            await service.learn_logouts(told)

    service = Actor(asyncio.get_running_loop().time).find().service
    ended = Tokens(SECRET_OF_USERS, [], SECRET).ended
    async with SharedLogouts(Place(), ended).kept():
        assert calls == ["logouts"]
        ended.add(Login("ann", 5))
        await asyncio.sleep(1.5 * SHARE_S)
        assert calls == ["logouts", "logouts", "learn"]
        await asyncio.sleep(2 * SHARE_S)
        assert calls[3:] == ["logouts"] * 2
    assert (await service.logouts("")).ended == (("ann", 0, (5,)),)
