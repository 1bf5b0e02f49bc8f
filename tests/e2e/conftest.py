"""The real server and a real browser for the end-to-end tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from scripts.bench.clients.browser import ARGUMENTS, BROWSERS
from tests.e2e.camera import write_camera_file
from tests.e2e.servers import FAKE_ENGINE, PEER_TIMEOUT_S, Server, fake_engine_server, server_process
from tests.e2e.visits import PAGE_LIMIT_MS, OpenPage, PagePool, pages_of

INSTALL_BROWSER = "no Chromium on the PATH; install it with: sudo apt-get install chromium"


# One camera, server and browser for each process that runs files of this folder. No longer: while Playwright
# runs, no test may run asyncio.
@pytest.fixture(scope="package")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "carphone.y4m"
    write_camera_file(path, numbered=True)
    return path


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server process. Depth is estimated from edges: browser, server and test processes share the
    machine, and the built-in net would take a third of a core. With FAKE_ENGINE in the environment: the
    application around a fake engine."""
    if FAKE_ENGINE in os.environ:
        with fake_engine_server(min_fps=0, peer_timeout=PEER_TIMEOUT_S) as server:
            yield server
        return
    flags = ["--stamp-source", "--min-fps", "0"]  # however slow this machine is
    flags += ["--peer-timeout", f"{PEER_TIMEOUT_S:g}", "--depth", "edges"]
    with server_process(tmp_path_factory.mktemp("server") / "log", *flags) as server:
        yield server


@pytest.fixture(scope="package")
def browser(camera_file: Path) -> Iterator[Browser]:
    """Headless Chromium with the clip as its camera. It grants no page the camera by itself: contexts do."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(INSTALL_BROWSER)
    arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={camera_file}"]
    expect.set_options(timeout=PAGE_LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, headless=True, args=arguments, timeout=PAGE_LIMIT_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def pool(browser: Browser) -> PagePool:
    return PagePool(browser)


@pytest.fixture
def open_page(pool: PagePool, server: Server) -> Iterator[OpenPage]:
    """open_page(camera=True, prepare=None, path="/", color_scheme=..., viewport=...): a visit, loaded; over
    after the test."""
    with pages_of(pool, server) as open_it:
        yield open_it
