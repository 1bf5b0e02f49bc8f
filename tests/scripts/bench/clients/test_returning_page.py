"""A page that is watched: what it notes becomes a visit, and a real browser shows what comes back."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.bench.clients.chromium import chromium
from scripts.bench.clients.numbered_clip import write_clip
from scripts.bench.clients.returning_page import ReturningPage
from scripts.bench.servers.launch import started
from tests.scripts.bench.clients.conftest import PATIENCE_S

SIZE = (160, 120)


class Page:
    """Of a clock that began `ahead` seconds before the monotonic one."""

    def __init__(self, ahead: float) -> None:
        self.noted: dict[str, Any] = {}
        self._ahead = ahead

    async def evaluate(self, script: str) -> str:
        return json.dumps({"now": 1000 * (time.monotonic() + self._ahead), **self.noted})


async def test_what_a_page_has_noted_is_told_on_the_monotonic_clock():
    watched, page, began = ReturningPage(None, ""), Page(ahead=500.0), time.monotonic()  # type: ignore[arg-type]
    at = [1000 * (began + 500 + seconds) for seconds in (1.0, 1.5, 7.0)]
    page.noted = {"shown": at, "phases": [[at[1], "reconnecting"], [at[2], "live"]]}
    await watched._take(page)  # type: ignore[arg-type]
    assert [shown - began for shown in watched.visit.pictures] == pytest.approx([1.0, 1.5, 7.0], abs=0.5)
    assert watched.visit.losses == [watched.visit.pictures[1]]


def test_sessions_and_refusals_are_those_of_offers():
    watched = ReturningPage(None, "")  # type: ignore[arg-type]

    def answer(status: int, path: str = "/whip?ticket=t", method: str = "POST", session: str = "") -> Any:
        request = SimpleNamespace(method=method, url=f"http://127.0.0.1{path}")
        return SimpleNamespace(request=request, status=status, headers={"location": f"/whip/{session}"})

    for told in (
        answer(503),
        answer(201, session="one"),
        answer(404, "/sessions/one", "GET"),
        answer(404, "/whip?ticket=t", "DELETE"),
        answer(201, "/whip?session=one", session="one"),
        answer(201, session="two"),
    ):
        watched._note_answer(told)
    watched._note_failure(answer(0).request)
    assert watched.visit.sessions == ["one", "two"] and watched.visit.refusals == {503: 1, 0: 1}


@pytest.mark.browser
@pytest.mark.slow
async def test_a_browser_notes_each_picture_that_comes_back(tmp_path):
    write_clip(clip := tmp_path / "camera.mjpeg", *SIZE)
    with started("scripts.bench.servers.echo") as (address, _):
        async with chromium(clip, address) as browser:
            page, over = ReturningPage(browser, address), asyncio.Event()
            began, staying = time.monotonic(), asyncio.create_task(page.stay(over))
            async with asyncio.timeout(PATIENCE_S):
                while len(page.visit.pictures) < 20 and not staying.done():  # noqa: ASYNC110 -- a list
                    await asyncio.sleep(0.1)
                over.set()
                visit = await staying
    assert len(visit.sessions) == 1 and visit.losses == [] and visit.refusals == {}
    assert began < visit.pictures[0] and visit.pictures == sorted(visit.pictures)
