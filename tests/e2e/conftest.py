"""The real server and a real browser for the end-to-end tests."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts.bench.clients.browser import ARGUMENTS, BROWSERS
from tests.e2e.camera import write_camera_file

ROOT = Path(__file__).resolve().parents[2]
READY_LIMIT_S = 600.0
END_LIMIT_S = 60.0
ANSWER_LIMIT_S = 60.0
PEER_TIMEOUT_S = 45.0  # of the server: by it a place is freed that nobody gave back
PAGE_LIMIT_MS = 60_000  # for anything that the page or Playwright is asked for without a limit of its own
INSTALL_BROWSER = "no Chromium on the PATH; install it with: sudo apt-get install chromium"


@dataclass(frozen=True)
class Server:
    """A running server and its answers."""

    url: str

    def info(self) -> dict[str, Any]:
        return json.loads(self.get("/api/info"))

    def gauge(self, name: str) -> float:
        """One value of /metrics."""
        (line,) = [line for line in self.get("/metrics").splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def wait_free(self, others: int = 0) -> None:
        """Until no more than so many sessions are left."""
        end = time.monotonic() + PEER_TIMEOUT_S + END_LIMIT_S
        while (sessions := self.info()["sessions"]) > others:
            assert time.monotonic() < end, (
                f"{sessions} sessions are left, of which {others} were there before"
            )
            time.sleep(0.05)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=ANSWER_LIMIT_S) as response:
            return response.read().decode()


# One camera, server and browser for each process that runs files of this folder. No longer: while Playwright
# runs, no test may run asyncio.
@pytest.fixture(scope="package")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "carphone.y4m"
    write_camera_file(path, numbered=True)
    return path


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server process with its default model, ready. Depth is estimated from edges: browser, server
    and test processes share the machine, and the built-in net would take a third of a core."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    # However slow this machine is.
    flags = ["--port", str(port), "--stamp-source", "--min-fps", "0", "--peer-timeout", f"{PEER_TIMEOUT_S:g}"]
    flags += ["--depth", "edges"]
    command = [sys.executable, "-m", "tests.e2e.loopback_server", *flags]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process,
    ):
        try:
            yield wait_ready(Server(f"http://127.0.0.1:{port}"), process, log)
        finally:
            process.terminate()
            try:
                assert process.wait(END_LIMIT_S) == 0, (
                    f"the server did not end cleanly:\n{log.read_text()[-4000:]}"
                )
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> Server:
    reason = ""
    end = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            server.get("/readyz")
            return server
        except urllib.error.HTTPError as error:
            reason = error.read().decode()
            error.close()
            if "failed" in reason:
                break
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    pytest.fail(f"the server is not ready: {reason}\n{log.read_text()[-4000:]}")


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


@dataclass(frozen=True)
class Visit:
    """One page in a context of its own, and everything that went wrong on its console."""

    page: Page
    errors: list[str]


OpenPage = Callable[..., Visit]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[OpenPage]:
    """open_page(camera=True, **context options): the page, loaded; gone after the test."""
    with pages_of(browser, server) as open_it:
        yield open_it


@contextmanager
def pages_of(browser: Browser, server: Server) -> Iterator[OpenPage]:
    """A function that opens pages. In the end all are left and closed: none costs a later test anything."""
    contexts, others = [], server.info()["sessions"]

    def open_it(
        *,
        camera: bool = True,
        prepare: Callable[[Page], None] | None = None,
        path: str = "/",
        site: str = server.url,
        **options: Any,
    ) -> Visit:
        permissions = ["camera"] if camera else []
        context = browser.new_context(base_url=site, permissions=permissions, **options)
        context.set_default_timeout(PAGE_LIMIT_MS)
        contexts.append(context)
        page = context.new_page()
        visit = Visit(page, [])
        page.on(
            "console", lambda message: visit.errors.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.add_init_script(NOTES)
        if prepare is not None:
            prepare(page)
        page.goto(path)
        return visit

    try:
        yield open_it
    finally:
        for page in [page for context in contexts for page in context.pages]:
            page.unroute_all(behavior="ignoreErrors")  # an answer on its way to a closed page is no failure
            page.goto("about:blank")
        server.wait_free(others)  # closed earlier, a context would take the page's last request with it
        for context in contexts:
            context.close()
