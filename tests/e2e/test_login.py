"""The page on a server that asks for tokens: a form, a cookie, and no secret in an address."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from server.access.tokens import Grant, SignedTokens
from tests.e2e.page import OVERFLOWING, findings, start
from tests.e2e.servers import Server, fake_engine_server
from tests.e2e.visits import OpenPage, PagePool, Visit, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for tokens."""
    secret = tmp_path_factory.mktemp("guarded") / "secret"
    secret.write_text(SECRET)
    with fake_engine_server(auth_secret_file=str(secret), min_fps=0) as server:
        yield replace(server, token=token())


@pytest.fixture
def open_page(pool: PagePool, guarded: Server) -> Iterator[OpenPage]:
    with pages_of(pool, guarded) as open_it:
        yield open_it


def test_the_page_asks_for_a_token_and_streams_with_it(open_page: OpenPage, guarded: Server) -> None:
    mine, asked = token(), list[str]()

    def note_requests(visit: Visit) -> None:
        visit.on("request", lambda request: asked.append(request.url))

    page = open_page(prepare=note_requests).page
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


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_login_can_be_read_and_worked_by_keys_alone(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 740}).page
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#login-hint")).to_contain_text("depthlive token --role publish")
    backdrop = "getComputedStyle(document.getElementById('login'), '::backdrop').backgroundColor"
    assert "/" not in (colour := page.evaluate(backdrop)) and "rgba" not in colour, "the page shows through"
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


def test_logging_out_ends_the_stream_and_asks_for_a_token_again(open_page: OpenPage) -> None:
    page = open_page().page
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#logout")).to_be_hidden()
    page.fill("#login-token", token())
    page.press("#login-token", "Enter")
    expect(page.locator("#login")).to_be_hidden()
    page.reload()
    expect(page.locator("#logout")).to_be_visible()
    start(page)
    page.route("**/whip/*", late)
    with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        page.click("#logout")
    assert ended.value.ok, "the session is given back while the cookie is still good"
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#words")).to_have_text("This server asks for a token.")
    assert not page.context.cookies()
    page.reload()
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#logout")).to_be_hidden()


def test_a_server_out_of_reach_logs_nobody_out(open_page: OpenPage) -> None:
    page = open_page().page
    page.fill("#login-token", token())
    page.press("#login-token", "Enter")
    expect(page.locator("#status")).to_contain_text("Ready")
    page.route("**/logout", lambda route: route.abort())
    page.click("#logout")
    expect(page.locator("#problem")).to_have_text("The server does not answer.")
    expect(page.locator("#logout")).to_be_visible()


def late(route: Route) -> None:
    """As over a busy line: what is sent after it would arrive before it."""
    time.sleep(0.5)
    route.continue_()


def token() -> str:
    return SignedTokens(SECRET.encode()).make(Grant("ann", "publish"))


def focused(page: Page) -> str:
    """The id of what has the focus, or its words."""
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")
