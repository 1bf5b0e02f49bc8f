"""Page in headless Chromium that goes on whatever happens to its server: watched, and helped by nobody."""

import asyncio
import contextlib
import json
import time
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Request, Response, ViewportSize

from scripts.bench.clients.browser import PAGE_LIMIT_MS
from scripts.bench.clients.returning import Visit

LOOK_S = 0.5
VIEWPORT: ViewportSize = {"width": 800, "height": 600}  # little to paint, on a machine without a GPU
AWAY = "reconnecting"  # the phase that begins when the page has noticed a loss
# Each new picture that comes back, once it is shown, and each change of phase. What a video shows when its
# connection is closed is none.
NOTE = """() => {
  const shows = ["warming", "waiting", "live", "interrupted"];
  const noted = (window.noted = { shown: [], phases: [] });
  const video = document.getElementById("output");
  const look = (now) => {
    if (shows.includes(document.body.dataset.phase)) noted.shown.push(now);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  new MutationObserver(() => noted.phases.push([performance.now(), document.body.dataset.phase]))
    .observe(document.body, { attributes: true, attributeFilter: ["data-phase"] });
}"""
# In parts: what has been noted so far is handed over, and let go of.
TAKE = """() => {
  const { shown, phases } = window.noted;
  return JSON.stringify({ now: performance.now(), shown: shown.splice(0), phases: phases.splice(0) });
}"""


class ReturningPage:
    """visit = await ReturningPage(browser, url).stay(over)"""

    def __init__(self, browser: Browser, url: str) -> None:
        self.visit = Visit()
        self._browser, self._url = browser, url
        self._clock: tuple[float, float] | None = None  # how far off, and what to add to the page's (s)

    async def stay(self, over: asyncio.Event) -> Visit:
        """Start, and note what is shown until it is `over`. Raises playwright's Error, or TimeoutError, when
        the browser does not do as it is told."""
        page = await self._browser.new_page(permissions=["camera"], viewport=VIEWPORT)
        page.set_default_timeout(PAGE_LIMIT_MS)
        page.on("response", self._note_answer)
        page.on("requestfailed", self._note_failure)
        await page.goto(self._url)
        await page.evaluate(NOTE)
        await page.click("#start")
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), LOOK_S)
            await self._take(page)
        await page.goto("about:blank")  # so that the page ends its session
        await page.close()
        return self.visit

    async def _take(self, page: Page) -> None:
        """What has been noted since the last time."""
        before = time.monotonic()
        async with asyncio.timeout(PAGE_LIMIT_MS / 1000):
            noted: dict[str, Any] = json.loads(await page.evaluate(TAKE))
        after = time.monotonic()
        found = after - before, (before + after) / 2 - noted["now"] / 1000
        self._clock = min(found, self._clock or found)
        offset = self._clock[1]
        self.visit.pictures += [offset + at / 1000 for at in noted["shown"]]
        self.visit.losses += [offset + at / 1000 for at, phase in noted["phases"] if phase == AWAY]

    def _note_answer(self, response: Response) -> None:
        if not _is_offer(response.request):
            return
        if response.status == 201:
            session = response.headers["location"].rpartition("/")[2]
            if self.visit.sessions[-1:] != [session]:
                self.visit.sessions.append(session)
        else:
            self._refused(response.status)

    def _note_failure(self, request: Request) -> None:
        if _is_offer(request):
            self._refused(0)

    def _refused(self, status: int) -> None:
        self.visit.refusals[status] = self.visit.refusals.get(status, 0) + 1


def _is_offer(request: Request) -> bool:
    return request.method == "POST" and urlsplit(request.url).path.endswith("/whip")
