"""Visits to the page: each begins as in a new browser, on a browser page that others had before."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserType, Page, ViewportSize, expect, sync_playwright

from scripts.bench.clients.browser import ARGUMENTS, BROWSERS
from tests.e2e.servers import Server

INSTALL_BROWSER = "no Chromium on the PATH; install it with: sudo apt-get install chromium"
PAGE_LIMIT_MS = 60_000  # for anything that the page or Playwright is asked for without a limit of its own
EMPTY = "/healthz"  # a document of the server's site that runs nothing, for tests of single modules
DESKTOP: ViewportSize = {"width": 1280, "height": 720}

# What a test that looks too seldom, on a busy machine, would miss: each phase, and each word about a command.
NOTES = """
window.noted = { phases: [], commands: [] };
document.addEventListener("DOMContentLoaded", () => {
  const { phases, commands } = window.noted;
  new MutationObserver(() => phases.push(document.body.dataset.phase))
    .observe(document.body, { attributes: true, attributeFilter: ["data-phase"] });
  const line = document.getElementById("command");
  if (!line) return;
  new MutationObserver(() => commands.push({ words: line.textContent, figures: { ...line.dataset } }))
    .observe(line, { attributes: true, childList: true, characterData: true, subtree: true });
});
"""


@contextmanager
def launched_browser(camera_file: Path) -> Iterator[Browser]:
    """Headless Chromium with the clip as its camera. It grants no page the camera by itself: contexts do."""
    expect.set_options(timeout=PAGE_LIMIT_MS)
    with sync_playwright() as playwright, launched(playwright.chromium, camera_file) as browser:
        yield browser


@contextmanager
def launched(browsers: BrowserType, camera_file: Path, *more: str) -> Iterator[Browser]:
    """As `launched_browser`, with `more` arguments."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(INSTALL_BROWSER)
    arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={camera_file}", *more]
    browser = browsers.launch(executable_path=found, headless=True, args=arguments, timeout=PAGE_LIMIT_MS)
    yield browser
    browser.close()


@dataclass(frozen=True)
class Visit:
    """One page, and everything that went wrong on its console."""

    page: Page
    errors: list[str] = field(default_factory=list)
    _undo: ExitStack = field(default_factory=ExitStack)

    def add_script(self, script: str) -> None:
        """Run first in each document of this visit."""
        self._undo.enter_context(self.page.add_init_script(script))

    def on(self, event: str, handler: Callable[[Any], object]) -> None:
        """Have `handler` called at Playwright's `event` of the page, during this visit."""
        page: Any = self.page
        page.on(event, handler)
        self._undo.callback(page.remove_listener, event, handler)

    def leave(self, server: Server) -> None:
        """End the visit; nothing of it is left in the page but what the browser has loaded."""
        self._undo.close()
        context = self.page.context
        for window in context.pages:
            if window is not self.page:
                window.close()
        self.page.unroute_all(behavior="ignoreErrors")  # an answer on its way to a page that is left
        self.page.goto(server.url + EMPTY)  # of the same site, whose storage is cleared
        self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        context.clear_cookies()
        context.clear_permissions()


Prepare = Callable[[Visit], object]
OpenPage = Callable[..., Visit]


class PagePool:
    """Pages of one browser that no visit is on. A browser spends four times as much on the first document
    of a page, with a process of its own, as on each later one."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: list[Page] = []

    def take(self) -> Page:
        return self._free.pop() if self._free else self._new_page()

    def put_back(self, page: Page) -> None:
        self._free.append(page)

    def _new_page(self) -> Page:
        context = self._browser.new_context(viewport=DESKTOP)
        context.set_default_timeout(PAGE_LIMIT_MS)
        page = context.new_page()
        page.add_init_script(NOTES)
        return page


@contextmanager
def pages_of(pool: PagePool, server: Server) -> Iterator[OpenPage]:
    """A function that opens the server's page. In the end all visits are over, their sessions, too: none
    costs a later test anything."""
    visits, others = list[Visit](), server.info()["sessions"]

    def open_it(
        *,
        camera: bool = True,
        prepare: Prepare | None = None,
        path: str = "/",
        color_scheme: Literal["dark", "light"] = "light",
        viewport: ViewportSize = DESKTOP,
    ) -> Visit:
        visit = Visit(pool.take())
        visits.append(visit)
        page = visit.page
        if camera:
            page.context.grant_permissions(["camera"])
        page.emulate_media(color_scheme=color_scheme)
        page.set_viewport_size(viewport)
        page.mouse.move(0, 0)
        visit.on(
            "console", lambda message: visit.errors.append(message.text) if message.type == "error" else None
        )
        visit.on("pageerror", lambda error: visit.errors.append(str(error)))
        if prepare is not None:
            prepare(visit)
        page.goto(server.url + path)
        return visit

    try:
        yield open_it
    finally:
        for visit in visits:
            visit.leave(server)
        server.wait_free(others)
        for visit in visits:
            pool.put_back(visit.page)
