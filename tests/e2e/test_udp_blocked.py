"""Where the network blocks UDP, pictures come through a WebSocket: by itself, and it is said."""

import ctypes
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import expect

from tests.e2e.page import (
    FREED_LIMIT_S,
    begin_from_seed,
    colour,
    frames_shown,
    is_free,
    session_view,
    start,
    wait_applied,
    wait_live,
    wait_passed,
    wait_same_stream,
    wait_until,
)
from tests.e2e.servers import PEER_TIMEOUT_S, Server, fake_engine_server
from tests.e2e.visits import OpenPage, PagePool, Prepare, Visit, launched_browser, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WORDS = "Video comes through a WebSocket: this network blocks UDP."
LEAST_SHOWN = 25  # two chunks, and something of a third one
SHOWN_LIMIT_S = 120.0
# A network without UDP: rules are asked in order, and the one for UDP comes before that for loopback.
WITHOUT_UDP = (
    "ip link set lo up && ip rule add pref 10 lookup local && ip rule del pref 0 && "
    "ip rule add pref 5 ipproto udp blackhole"
)
CLONE_NEWNET = 0x40000000  # of sched.h; os.unshare is there from Python 3.12 on
T = TypeVar("T")


def without_udp(work: Callable[[], T]) -> T:
    """What comes of `work` in a thread with a network of its own, in which no UDP packet arrives; threads and
    processes that it starts are in that network, too. Raises OSError where none can be made."""

    def in_its_network() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made = subprocess.run(["sh", "-c", WITHOUT_UDP], capture_output=True, text=True)
        if made.returncode != 0:
            raise OSError(made.stderr)
        return work()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(in_its_network).result()


def may_unshare() -> bool:
    try:
        return without_udp(lambda: True)
    except OSError:
        return False


def is_udp_blocked() -> bool:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("127.0.0.1", 0))
        there.settimeout(1)
        try:
            here.sendto(b"?", there.getsockname())
            there.recv(1)
        except OSError:
            return True
        return False


def no_candidates(visit: Visit) -> None:
    """As seen behind a firewall: an answer comes, but neither side ever finds a path to the other."""
    visit.add_script(
        "const strip = ({ type, sdp }) => ({ type, sdp: sdp.replace(/a=candidate.*\\r\\n/g, '') });"
        "window.RTCPeerConnection = class extends RTCPeerConnection {"
        "  get localDescription() { return super.localDescription && strip(super.localDescription); }"
        "  async setRemoteDescription(answer) { await super.setRemoteDescription(strip(answer)); }"
        "};"
    )


def ice_fails(visit: Visit) -> None:
    """The same, and the browser says so at once."""
    no_candidates(visit)
    visit.add_script(
        "window.RTCPeerConnection = class extends RTCPeerConnection {"
        "  get connectionState() { return this.isBlocked ? 'failed' : super.connectionState; }"
        "  async setRemoteDescription(answer) {"
        "    await super.setRemoteDescription(answer);"
        "    this.isBlocked = true;"
        "    this.dispatchEvent(new Event('connectionstatechange'));"
        "  }"
        "};"
    )


def ways_to_block() -> list[Prepare | None]:
    """What makes a page find no path. Where a network without UDP can be made, one test below is in it."""
    if is_udp_blocked():
        return [None]
    return [ice_fails] if may_unshare() else [ice_fails, no_candidates]


BLOCKED = ways_to_block()


@pytest.mark.parametrize("prepare", BLOCKED)
def test_generated_pictures_come_through_a_websocket(
    open_page: OpenPage, server: Server, prepare: Prepare | None
) -> None:
    watch_through_a_websocket(open_page(prepare=prepare), server)


def watch_through_a_websocket(visit: Visit, server: Server) -> None:
    page = visit.page
    start(page)
    expect(page.locator("#way")).to_have_text(WORDS)
    assert server.info()["sessions"] == 1, "the session that WebRTC began went on"
    before = colour(page)
    page.fill("#prompt", "a glacier of blue ice")
    page.click("#send")
    figures = wait_applied(page, "Prompt")
    frames, began = frames_shown(page), time.monotonic()
    assert wait_until(lambda: frames_shown(page) > frames + LEAST_SHOWN, SHOWN_LIMIT_S), (
        "pictures keep coming"
    )
    fps = LEAST_SHOWN / (time.monotonic() - began)
    glass = page.locator("#glass").inner_text()
    print(
        f"websocket: {fps:.1f} fps, glass to glass {glass}, prompt {figures['latencyMs']} ms, from {before}"
    )
    assert glass.endswith(" ms")
    expect(page.locator("#figure-connection")).to_contain_text("through a WebSocket")
    page.click("#stop")
    expect(page.locator("#way")).to_be_empty()
    assert wait_until(lambda: is_free(server), FREED_LIMIT_S)
    assert visit.errors == []


def test_a_network_that_blocks_udp(camera_file: Path) -> None:
    """The test above once more, server and browser in a network in which no UDP packet arrives."""
    if is_udp_blocked():
        pytest.skip("this is that network already")
    if not may_unshare():
        pytest.skip("no network without UDP can be made here: that needs root and ip")

    def watch() -> None:
        assert is_udp_blocked()
        fake = fake_engine_server(min_fps=0, peer_timeout=PEER_TIMEOUT_S)
        with (  # no model is in the way of pictures
            launched_browser(camera_file) as browser,
            fake as server,
            pages_of(PagePool(browser), server) as open_page,
        ):
            watch_through_a_websocket(open_page(), server)

    without_udp(watch)


def test_a_lost_websocket_takes_its_session_up_again(open_page: OpenPage, server: Server) -> None:
    """What comes after it is the same stream: same seed, same prompt, the next chunks."""
    sessions: list[str] = []

    def watch_socket(visit: Visit) -> None:
        visit.on("websocket", lambda socket: socket.on("framereceived", note_session))
        visit.add_script(
            "window.WebSocket = class extends WebSocket {"
            "  constructor(...all) { super(...all); window.lastSocket = this; }"
            "};"
        )

    def note_session(payload: str | bytes) -> None:
        if isinstance(payload, str) and (message := json.loads(payload))["type"] == "hello":
            sessions.append(message["session"])

    page = open_page(prepare=watch_socket, path="/?transport=ws").page
    start(page)
    page.fill("#prompt", "a statue of blue ice")
    page.click("#send")
    wait_applied(page, "Prompt")
    begin_from_seed(server, sessions[0], 4242)
    before = session_view(server, sessions[0])
    page.evaluate("() => window.lastSocket.dispatchEvent(new CloseEvent('close', { code: 1006 }))")
    wait_passed(page, "reconnecting")
    wait_live(page)
    wait_same_stream(server, before)
    assert sessions == [sessions[0]] * 2
    page.click("#stop")
    assert wait_until(lambda: is_free(server), FREED_LIMIT_S)
