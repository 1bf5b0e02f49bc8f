"""What the page takes a silent server for, by the page's own clock, which these tests turn."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.servers import Server
from tests.e2e.visits import EMPTY

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BEGIN = """async () => {
  const { Liveness } = await import("/stream/lifecycle/liveness.js");
  window.told = [];
  const tell = (...words) => (...more) => window.told.push([...words, ...more].join(" "));
  const handlers = {
    onInterrupted: tell("interrupted"), onRestored: tell("restored"), onLost: tell("lost:"),
  };
  window.session = null;
  window.answer = async () => ({ status: 200 });
  window.fetch = (address) => {
    window.told.push(`asked ${address}`);
    return window.answer();
  };
  window.liveness = new Liveness(handlers, tell("ping"), tell("stop"), tell("hang up"), () => window.session);
  window.liveness.begin();
}"""
TOLD = "() => window.told.splice(0).filter((word) => word !== 'ping')"
PINGS = "() => window.told.splice(0).filter((word) => word === 'ping').length"
ASKED = "asked sessions/one"
END = ["stop", "lost: The connection to the server was lost. lost", "hang up"]


@pytest.fixture(scope="module")
def stopped(browser: Browser, server: Server) -> Iterator[Page]:
    """A page of its own, whose clock runs no more unless it is told to."""
    with browser.new_context() as context:
        page = context.new_page()
        page.clock.install()
        page.goto(server.url + EMPTY)
        page.clock.pause_at(page.evaluate("() => Date.now()") + 1000)
        yield page


@pytest.fixture
def page(stopped: Page) -> Iterator[Page]:
    stopped.evaluate(BEGIN)
    yield stopped
    stopped.evaluate("() => window.liveness.end()")


def test_silence_is_told_once_then_it_is_a_loss_and_after_the_end_nothing_is_told(page: Page) -> None:
    page.clock.run_for(7_900)
    assert page.evaluate(TOLD) == []
    page.clock.run_for(4_000)
    assert page.evaluate(TOLD) == ["interrupted"]
    page.clock.run_for(2_200)
    assert page.evaluate(TOLD) == END
    page.clock.run_for(60_000)
    page.evaluate(
        "() => { liveness.interrupted(); liveness.lose('again'); liveness.end(); liveness.begin(); }"
    )
    assert page.evaluate('() => liveness.read(\'{"type": "pong", "id": "1"}\')') is None
    assert page.evaluate("() => window.told") == []


def test_whatever_the_server_says_restores_an_interrupted_connection(page: Page) -> None:
    page.clock.run_for(8_100)
    assert page.evaluate(TOLD) == ["interrupted"]
    assert page.evaluate("() => liveness.read('nonsense')") is None  # also what cannot be read
    assert page.evaluate(TOLD) == ["restored"]
    assert page.evaluate('() => liveness.read(\'{"type": "pong", "id": "1"}\').id') == "1"
    page.clock.run_for(7_800)
    assert page.evaluate(TOLD) == []  # it counts from what was heard last
    page.clock.run_for(8_000)
    assert page.evaluate(TOLD) == ["interrupted", *END]


def test_the_server_is_asked_every_two_seconds(page: Page) -> None:
    assert page.evaluate(PINGS) == 1  # at once
    page.clock.run_for(6_100)
    assert page.evaluate(PINGS) == 3


@pytest.mark.parametrize("status", [404, 502])
def test_a_silent_server_is_asked_for_the_session_and_one_that_has_it_no_more_is_lost(
    page: Page, status: int
) -> None:
    """So says a gateway whose worker was killed: nobody waits until silence alone is enough."""
    page.evaluate("() => { window.session = 'one'; }")
    page.clock.run_for(2_100)
    assert page.evaluate(TOLD) == [ASKED]
    page.evaluate("(status) => { window.answer = async () => ({ status }); }", status)
    page.clock.run_for(2_000)
    assert page.evaluate(TOLD) == [ASKED, *END]


def test_a_silent_server_that_does_not_answer_either_is_waited_for(page: Page) -> None:
    """The network is at fault, and may come back."""
    page.evaluate(
        "() => { window.session = 'one'; window.answer = () => Promise.reject(new TypeError('no network')); }"
    )
    page.clock.run_for(7_900)
    assert page.evaluate(TOLD) == 3 * [ASKED]


def test_who_has_been_heard_since_the_question_is_not_lost(page: Page) -> None:
    page.evaluate(
        "() => { window.session = 'one'; window.answer = () => new Promise((tell) => (window.tell = tell)); }"
    )
    page.clock.run_for(4_100)
    assert page.evaluate(TOLD) == [ASKED]  # one question at a time
    page.evaluate("() => { liveness.heard(); window.tell({ status: 404 }); }")
    page.clock.run_for(100)
    assert page.evaluate(TOLD) == []
