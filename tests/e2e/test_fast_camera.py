"""A camera of 60 frames a second at a page whose server generates as many."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from scripts.bench.clients.browser import ARGUMENTS, BROWSERS
from tests.e2e.page import start
from tests.e2e.servers import PEER_TIMEOUT_S, fake_engine_server
from tests.e2e.visits import PAGE_LIMIT_MS, PagePool, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FAKE_CAMERA = "--use-fake-device-for-media-stream=fps=60"  # Chromium's own, in place of a clip
RATE = "() => document.getElementById('input').srcObject.getVideoTracks()[0].getSettings().frameRate"


@pytest.fixture(scope="module")
def fast_browser(browser: Browser) -> Iterator[Browser]:
    """A second one beside the package's, as Playwright runs once in a process."""
    found = next(filter(None, map(shutil.which, BROWSERS)))
    launch = browser.browser_type.launch
    with launch(
        executable_path=found, headless=True, args=[*ARGUMENTS, FAKE_CAMERA], timeout=PAGE_LIMIT_MS
    ) as it:
        yield it


@pytest.mark.parametrize(("max_fps", "given"), [(60.0, 60), (30.0, 30), (16.0, 30)])
def test_law_the_page_asks_for_as_many_frames_as_the_server_generates(
    fast_browser: Browser, max_fps: float, given: int
) -> None:
    """And never for fewer than 30: of more frames the newest is newer."""
    fake = fake_engine_server(max_fps=max_fps, min_fps=0, peer_timeout=PEER_TIMEOUT_S)
    with fake as server, pages_of(PagePool(fast_browser), server) as open_page:
        page: Page = open_page().page
        assert server.info()["max_fps"] == max_fps
        start(page)
        assert round(page.evaluate(RATE)) == given
