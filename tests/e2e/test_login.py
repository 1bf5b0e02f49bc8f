"""The page on a server that asks for tokens: a form, a cookie, and no secret in an address."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from server.access.tokens import Grant, SignedTokens
from tests.e2e.conftest import END_LIMIT_S, ROOT, Server, wait_ready
from tests.e2e.page import start

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A server that asks for tokens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret, log = tmp_path / "secret", tmp_path / "log"
    secret.write_text(SECRET)
    flags = ["--port", str(port), "--min-fps", "0", "--depth", "edges", "--auth-secret-file", str(secret)]
    command = [sys.executable, "-m", "tests.e2e.loopback_server", *flags]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process,
    ):
        try:
            yield wait_ready(Server(f"http://127.0.0.1:{port}"), process, log)
        finally:
            process.terminate()
            process.wait(END_LIMIT_S)


def test_the_page_asks_for_a_token_and_streams_with_it(browser: Browser, guarded: Server) -> None:
    token = SignedTokens(SECRET.encode()).make(Grant("ann", "publish"))
    context = browser.new_context(permissions=["camera"])
    try:
        page, asked = context.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(guarded.url)
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#words")).to_have_text("This server asks for a token.")
        page.fill("#login-token", token[:-3])
        page.press("#login-token", "Enter")
        expect(page.locator("#login-words")).to_contain_text("not one of this server")
        page.fill("#login-token", token)
        page.press("#login-token", "Enter")
        expect(page.locator("#login")).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("Ready")
        start(page)
        page.click("#stop")
        page.goto(f"{guarded.url}/?transport=ws")
        expect(page.locator("#status")).to_contain_text("Ready")
        start(page)
        assert "depthlive" not in page.evaluate("document.cookie"), "no script reads it"
        assert not [url for url in asked if token in url or "token=" in url]
        page.click("#stop")
        expect(page.locator("#start")).to_be_visible()
    finally:
        context.close()
