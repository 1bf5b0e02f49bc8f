"""The page on a server that asks for tokens: a form, a cookie, and no secret in an address."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from server.access.tokens import Grant, SignedTokens
from tests.e2e.conftest import END_LIMIT_S, ROOT, Server, wait_ready
from tests.e2e.page import OVERFLOWING, findings, start

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for tokens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("guarded")
    secret, log = folder / "secret", folder / "log"
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
    mine = token()
    context = browser.new_context(permissions=["camera"])
    try:
        page, asked = context.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(guarded.url)
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#words")).to_have_text("This server asks for a token.")
        page.fill("#login-token", mine[:-3])
        page.press("#login-token", "Enter")
        expect(page.locator("#login-words")).to_contain_text("not one of this server")
        page.fill("#login-token", mine)
        page.press("#login-token", "Enter")
        expect(page.locator("#login")).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("Ready")
        start(page)
        page.click("#stop")
        page.goto(f"{guarded.url}/?transport=ws")
        expect(page.locator("#status")).to_contain_text("Ready")
        start(page)
        assert "depthlive" not in page.evaluate("document.cookie"), "no script reads it"
        assert not [url for url in asked if mine in url or "token=" in url]
        page.click("#stop")
        expect(page.locator("#start")).to_be_visible()
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_login_can_be_read_and_worked_by_keys_alone(
    browser: Browser, guarded: Server, scheme: Any
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740})
    try:
        page = context.new_page()
        page.goto(guarded.url)
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#login-hint")).to_contain_text("depthlive token --role publish")
        backdrop = "getComputedStyle(document.getElementById('login'), '::backdrop').backgroundColor"
        assert "/" not in (colour := page.evaluate(backdrop)) and "rgba" not in colour, (
            "the page shows through"
        )
        assert findings(page) == []
        assert page.evaluate(OVERFLOWING, 360) == []
        assert focused(page) == "login-token"
        page.keyboard.press("Tab")
        assert focused(page) == "Log in"
        page.keyboard.press("?")
        page.keyboard.press("g")
        expect(page.locator("#help")).to_be_hidden()
        page.keyboard.press("Enter")
        expect(page.locator("#login-words")).to_contain_text("Type the token")
        page.keyboard.press("Shift+Tab")
        page.keyboard.type(token())
        page.keyboard.press("Enter")
        expect(page.locator("#login")).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("Ready")
        assert findings(page) == []
        assert page.evaluate(OVERFLOWING, 360) == []
        page.focus("#open-help")
        page.keyboard.press("Tab")
        assert focused(page) == "logout"
    finally:
        context.close()


def test_logging_out_ends_the_stream_and_asks_for_a_token_again(browser: Browser, guarded: Server) -> None:
    context = browser.new_context(permissions=["camera"])
    try:
        page = context.new_page()
        page.goto(guarded.url)
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#logout")).to_be_hidden()
        page.fill("#login-token", token())
        page.press("#login-token", "Enter")
        expect(page.locator("#login")).to_be_hidden()
        page.reload()
        expect(page.locator("#logout")).to_be_visible()
        start(page)
        with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
            page.click("#logout")
        assert ended.value.ok, "the session is given back while the cookie is still good"
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#words")).to_have_text("This server asks for a token.")
        assert not context.cookies()
        page.reload()
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#logout")).to_be_hidden()
    finally:
        context.close()


def test_a_server_out_of_reach_logs_nobody_out(browser: Browser, guarded: Server) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(guarded.url)
        page.fill("#login-token", token())
        page.press("#login-token", "Enter")
        expect(page.locator("#status")).to_contain_text("Ready")
        page.route("**/logout", lambda route: route.abort())
        page.click("#logout")
        expect(page.locator("#problem")).to_have_text("The server does not answer.")
        expect(page.locator("#logout")).to_be_visible()
    finally:
        context.close()


def token() -> str:
    return SignedTokens(SECRET.encode()).make(Grant("ann", "publish"))


def focused(page: Page) -> str:
    """The id of what has the focus, or its words."""
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")
