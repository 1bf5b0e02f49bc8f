"""Visits to one browser page: none finds what an earlier one did."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.e2e.servers import Server
from tests.e2e.visits import DESKTOP, EMPTY, PagePool, Visit, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRACES = """async () => ({
  script: "mark" in window,
  storage: [...Object.keys(localStorage), ...Object.keys(sessionStorage)],
  cookies: document.cookie,
  camera: (await navigator.permissions.query({ name: "camera" })).state,
  isDark: matchMedia("(prefers-color-scheme: dark)").matches,
  size: { width: innerWidth, height: innerHeight },
  answer: await (await fetch("/healthz")).text(),
})"""
LEAVE_TRACES = """() => {
  localStorage.setItem("mark", "1");
  sessionStorage.setItem("mark", "1");
  document.cookie = "mark=1";
  window.open("/healthz");
}"""


def test_a_visit_finds_nothing_that_the_one_before_left(browser: Browser, server: Server) -> None:
    pool, heard = PagePool(browser), list[str]()

    def answer(route: Route) -> None:
        route.fulfill(body="not the server's")

    def prepare(visit: Visit) -> None:
        visit.add_script("window.mark = true")
        visit.on("console", lambda message: heard.append(message.text))
        visit.page.route("**/healthz", answer)

    with pages_of(pool, server) as open_page:
        first = open_page(
            path=EMPTY, prepare=prepare, color_scheme="dark", viewport={"width": 360, "height": 740}
        )
        with first.page.expect_popup():
            first.page.evaluate(LEAVE_TRACES)
        first.page.evaluate("() => console.error('one')")
        changed: dict[str, Any] = first.page.evaluate(TRACES)
    with pages_of(pool, server) as open_page:
        second = open_page(path=EMPTY, camera=False)
        assert second.page is first.page
        found: dict[str, Any] = second.page.evaluate(TRACES)
        assert {name: found[name] for name in found if found[name] == changed[name]} == {}
        assert found | {"camera": "", "answer": ""} == {
            "script": False,
            "storage": [],
            "cookies": "",
            "camera": "",
            "isDark": False,
            "size": DESKTOP,
            "answer": "",
        }
        assert second.page.context.pages == [second.page]
        second.page.evaluate("() => console.error('two')")
    assert (heard, first.errors, second.errors) == (["one"], ["one"], ["two"])
