"""The real server and a real browser for the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.camera import write_camera_file
from tests.e2e.servers import PEER_TIMEOUT_S, Server, server_process
from tests.e2e.visits import OpenPage, PagePool, launched_browser, pages_of


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
    machine, and the built-in net would take a third of a core."""
    flags = ["--stamp-source", "--min-fps", "0"]  # however slow this machine is
    flags += ["--peer-timeout", f"{PEER_TIMEOUT_S:g}", "--depth", "edges"]
    with server_process(tmp_path_factory.mktemp("server") / "log", *flags) as server:
        yield server


@pytest.fixture(scope="package")
def browser(camera_file: Path) -> Iterator[Browser]:
    with launched_browser(camera_file) as browser:
        yield browser


@pytest.fixture(scope="package")
def pool(browser: Browser) -> PagePool:
    return PagePool(browser)


@pytest.fixture
def open_page(pool: PagePool, server: Server) -> Iterator[OpenPage]:
    """open_page(camera=True, prepare=None, path="/", color_scheme=..., viewport=...): a visit, loaded; over
    after the test."""
    with pages_of(pool, server) as open_it:
        yield open_it
