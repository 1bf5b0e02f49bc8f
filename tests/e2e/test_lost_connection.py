"""What becomes of a stream, and of what the person does, when the connection is lost and comes back."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.page import (
    OFFER,
    begin_from_seed,
    session_view,
    start_session,
    wait_applied,
    wait_live,
    wait_passed,
    wait_same_stream,
    wait_until,
)
from tests.e2e.servers import Server
from tests.e2e.visits import EMPTY, OpenPage, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What becomes of what was set: sent is not enough, a connection that is gone looks open for a while.
DESIRED_STATE = """async () => {
  const { DesiredState } = await import("/session/desired_state.js");
  const sent = [], noticed = [];
  let isLive = true, answer = null;
  const issue = (message, label, onAnswer) => { sent.push(message); answer = onAnswer; return true; };
  const http = { get id() { return isLive ? "one" : null; } };
  const desired = new DesiredState({ issue }, http, (words) => noticed.push(words));
  const taken = () => sent.splice(0);
  const found = {};
  desired.set("prompt", "Prompt", () => "gold");
  desired.set("mask", "Mask", () => "veil");
  answer();
  found.first = taken();
  desired.replay(true);
  found.resumed = taken();
  desired.replay(true);
  answer();
  taken();
  desired.replay(true);
  found.answered = taken();
  isLive = false;
  desired.undo("mask", "Mask", () => "no veil");
  found.hasMask = desired.has("mask");
  isLive = true;
  desired.replay(true);
  found.undone = taken();
  answer();
  desired.replay(true);
  found.undoneOnce = taken();
  desired.set("freeze", "Freeze", () => "freeze");
  desired.undo("freeze", "Freeze off", () => "thaw");
  taken();
  desired.replay(false);
  found.fresh = taken();
  desired.replay(true);
  found.freshUnanswered = taken();
  return { ...found, noticed };
}"""


# Uploads take as long as they take: the newest of a kind counts, not the last that is ready.
OVERTAKEN = """async () => {
  const { DesiredState } = await import("/session/desired_state.js");
  const sent = [], noticed = [], ready = [], later = () => new Promise((...both) => ready.push(both));
  const issue = (message, label, onAnswer) => { sent.push(message); return true; };
  const desired = new DesiredState({ issue }, { id: "one" }, (words) => noticed.push(words));
  desired.set("mask", "Mask", later);
  desired.set("references", "References", later);
  desired.set("mask", "Mask", later);
  ready[2][0]("newer veil");
  await null;
  ready[0][0]("older veil");
  ready[1][0]("pictures");
  await null;
  desired.set("mask", "Mask", later);
  desired.set("mask", "Mask", later);
  ready[3][1](new Error("the older upload failed"));
  ready[4][1](new Error("the newer upload failed"));
  await new Promise((next) => setTimeout(next));
  return { sent, noticed };
}"""


DECODED = """async () => {
  const reports = [...(await window.peer.getStats()).values()];
  return reports.find(({ type }) => type === "inbound-rtp")?.framesDecoded ?? 0;
}"""
SHOWN_LIMIT_S = 60.0


def watch_transport(visit: Visit) -> None:
    """Lets a test cut the page's connection as a network does: window.cut(). With window.deafen() before it,
    what the page sends is lost although its channels still look open."""
    visit.add_script(
        "window.RTCPeerConnection = class extends RTCPeerConnection {"
        "  constructor(...options) {"
        "    super(...options); window.peer = this;"
        "    window.cut = () => this.cut(); window.deafen = () => this.deafen();"
        "  }"
        "  get connectionState() { return this.isCut ? 'failed' : super.connectionState; }"
        "  cut() { this.isCut = true; this.dispatchEvent(new Event('connectionstatechange')); }"
        "  createDataChannel(...options) {"
        "    const channel = super.createDataChannel(...options); this.control ??= channel; return channel;"
        "  }"
        "  deafen() { this.control.send = () => {}; }"
        "};"
    )


def test_a_lost_connection_takes_its_session_up_again(open_page: OpenPage, server: Server) -> None:
    """What comes after it is the same stream: same seed, same prompt, same recording, the next chunks."""
    visit = open_page(prepare=watch_transport)
    page = visit.page
    id = start_session(page)
    page.fill("#prompt", "a glacier of blue ice")
    page.click("#send")
    wait_applied(page, "Prompt")
    begin_from_seed(server, id, 4242)
    page.click("#record")
    expect(page.locator("[data-badge=recording]")).to_have_text(re.compile(r"0:0[1-9]"))
    before = session_view(server, id)
    with page.expect_response(OFFER) as answered:
        page.evaluate("() => window.cut()")
        wait_passed(page, "reconnecting")
        assert page.evaluate("() => document.getElementById('output').srcObject !== null")  # the last picture
    former = re.search(r"session=([\w-]+)", answered.value.url)
    assert former is not None and answered.value.headers["location"].endswith(former[1])
    wait_live(page)
    assert former[1] == id
    wait_same_stream(server, before)
    expect(page.locator("[data-badge=recording]")).to_be_visible()  # one recording, not two
    expect(page.locator("#recordings a")).to_have_count(0)
    page.click("#record")
    expect(page.locator("#recordings a")).to_have_count(1)
    page.click("#stop")
    assert visit.errors == []


def test_what_was_sent_into_a_dead_connection_is_sent_again(open_page: OpenPage) -> None:
    assert open_page(path=EMPTY).page.evaluate(DESIRED_STATE) == {
        "first": ["gold", "veil"],
        "resumed": ["gold"],  # the veil was acknowledged
        "answered": [],
        "hasMask": False,
        "undone": ["no veil"],
        "undoneOnce": [],
        "fresh": ["gold"],  # a new session never had what was taken back
        "freshUnanswered": ["gold"],
        "noticed": [],
    }


def test_an_older_upload_does_not_win_over_a_newer_one(open_page: OpenPage) -> None:
    assert open_page(path=EMPTY).page.evaluate(OVERTAKEN) == {
        "sent": ["newer veil", "pictures"],
        "noticed": ["Mask: the newer upload failed"],
    }


def test_a_pause_that_the_network_swallowed_holds(open_page: OpenPage, server: Server) -> None:
    """Pause must hold: the session that comes back is told, and shows the picture that was on show."""
    visit = open_page(prepare=watch_transport)
    page = visit.page
    id = start_session(page)
    page.evaluate("() => window.deafen()")
    page.click("#pause")
    page.fill("#prompt", "half a sent")
    page.evaluate("() => window.cut()")
    wait_passed(page, "reconnecting")
    wait_live(page)
    assert wait_until(lambda: session_view(server, id)["settings"]["paused"], SHOWN_LIMIT_S)
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    # The page takes the way by WebSocket where no media come: once some have, it does not any more.
    assert wait_until(lambda: page.evaluate(DECODED) > 1, SHOWN_LIMIT_S)
    expect(page.locator("#way")).to_be_hidden()
    assert session_view(server, id)["settings"]["prompts"][0]["text"] != "half a sent"
    assert page.input_value("#prompt") == "half a sent"
    page.click("#pause")
    assert wait_until(lambda: not session_view(server, id)["settings"]["paused"], SHOWN_LIMIT_S)
    page.click("#stop")
    assert visit.errors == []
