"""Visit of headless Chromium to the real page, whose camera is a numbered clip: what it shows, and when."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page, Request, ViewportSize

from scripts.bench.clients.browser import COLUMNS, PAGE_LIMIT_MS, SCRIPT, recording_of
from scripts.bench.figures.run_record import RunRecord

LIVE_LIMIT_S = 60.0
CLOCK_TRIES = 5
VIEWPORT: ViewportSize = {"width": 800, "height": 600}  # little to paint, on a machine without a GPU
PROMPT = "a glacier of blue ice"
# In parts: what has been noted so far is handed over, and let go of.
TAKE = """() => {
  const { input, output } = window.benched;
  const noted = { ...window.benched, input: input.splice(0), output: output.splice(0) };
  return JSON.stringify(noted);
}"""
NOTE_PHASES = """() => {
  const phases = (window.phases = []);
  new MutationObserver(() => phases.push(document.body.dataset.phase))
    .observe(document.body, { attributes: true, attributeFilter: ["data-phase"] });
}"""


# The page sends pictures as small as the model's, and this server's model is tiny: a camera frame would be
# one packet, and none of those that the built-in model gets.
SEND_FOR_BUILT_IN_MODEL = """() => {
  const { prototype } = RTCRtpSender, set = prototype.setParameters;
  prototype.setParameters = function (parameters) {
    for (const encoding of parameters.encodings) encoding.scaleResolutionDownBy = 1;
    return set.call(this, parameters);
  };
}"""


@dataclass
class Visit:
    """One page with a running stream."""

    page: Page
    address: str
    session: str = ""
    offers: int = 0

    @asynccontextmanager
    @staticmethod
    async def begun(browser: Browser, address: str) -> AsyncIterator["Visit"]:
        """Live, with a prompt set. Raises playwright's TimeoutError when it does not get so far."""
        page = await browser.new_page(permissions=["camera"], viewport=VIEWPORT)
        visit = Visit(page, address)
        page.set_default_timeout(PAGE_LIMIT_MS)
        page.on("request", visit._count)
        await page.goto(address)
        await page.evaluate(SCRIPT.read_text(encoding="utf-8"), COLUMNS)
        await page.evaluate(NOTE_PHASES)
        await page.evaluate(SEND_FOR_BUILT_IN_MODEL)
        await page.fill("#prompt", PROMPT)
        async with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
            await page.click("#start")
        visit.session = (await (await answered.value).header_value("location") or "").rpartition("/")[2]
        live = page.locator("body[data-phase=live]")
        await live.wait_for(state="attached", timeout=1000 * LIVE_LIMIT_S)
        try:
            yield visit
        finally:
            await page.click("#stop")
            await page.close()

    async def take(self) -> RunRecord:
        """What was shown since the last time. Its times are on time.monotonic."""
        offset = await self._offset()
        noted: dict[str, Any] = json.loads(await self.page.evaluate(TAKE))
        for frame in (*noted["input"], *noted["output"]):
            for key in ("captured", "received", "shown"):
                if frame[key] is not None:
                    frame[key] += 1000 * offset
        return recording_of(noted, model=None)

    async def phases(self) -> list[str]:
        """Of the page, since the beginning."""
        return await self.page.evaluate("() => window.phases")

    async def is_same_session(self) -> bool:
        """Whether the session of the beginning is there, has a peer, and has kept its prompt."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.address}/sessions/{self.session}") as answer,
        ):
            if answer.status != 200:
                return False
            view = await answer.json()
        return view["settings"]["prompts"][0]["text"] == PROMPT

    async def _offset(self) -> float:
        """What to add to the page's clock (s)."""
        found: list[tuple[float, float]] = []
        for _ in range(CLOCK_TRIES):
            before = time.monotonic()
            there = await self.page.evaluate("() => performance.now()")
            after = time.monotonic()
            found.append((after - before, (before + after) / 2 - there / 1000))
        return min(found)[1]

    def _count(self, request: Request) -> None:
        self.offers += request.method == "POST" and "/whip" in request.url
