"""What the browser tests ask of a page again and again."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.e2e.servers import ANSWER_LIMIT_S, Server

OFFER = re.compile(r"/whip(\?|$)")  # where offers go; not whip.js
LIVE_LIMIT_MS = 150_000
APPLIED_LIMIT_MS = 100_000
FREED_LIMIT_S = 30.0  # for a place that was given back: well below PEER_TIMEOUT_S

# The mean colour of a part of a video, 0 ... 255, once a few more pictures have been shown.
MEAN_COLOUR = """async ([id, left, right]) => {
  const video = document.getElementById(id);
  if (!video.videoWidth) return [0, 0, 0];
  for (let n = 0; n < 4; n++) await new Promise((next) => video.requestVideoFrameCallback(next));
  const canvas = new OffscreenCanvas(16, 9);
  const context = canvas.getContext("2d");
  const { videoWidth: w, videoHeight: h } = video;
  context.drawImage(video, w * left, h * 0.15, w * (right - left), h * 0.85, 0, 0, 16, 9);
  const { data } = context.getImageData(0, 0, 16, 9);
  return [0, 1, 2].map((c) => data.filter((_, i) => i % 4 === c).reduce((a, b) => a + b) / (16 * 9));
}"""
# Elements that stick out of the page, or whose own text sticks out of them.
OVERFLOWING = """(width) => [...document.querySelectorAll("body *")].filter((element) => {
  const { display, overflow } = getComputedStyle(element);
  const spills = element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
  const sticksOut = element.getBoundingClientRect().right > width + 0.5;
  return sticksOut || (spills && display !== "inline" && overflow === "visible");
}).map((element) => `${element.tagName}#${element.id}`)"""

# The first word of its kind that was noted, taken out with those before: see visits.NOTES.
TAKE_APPLIED = """(label) => {
  const { commands } = window.noted;
  const isOf = ({ figures }) => figures.label === label;
  const applied = / applied( at chunk \\d+, frame \\d+,)? after \\d+ ms\\.$/;
  const isApplied = ({ words }) => applied.test(words);
  const found = commands.findIndex((told) => isOf(told) && isApplied(told));
  if (found < 0) return null;
  const { figures } = commands[found];
  commands.splice(0, commands.length, ...commands.filter((told, n) => n > found || !isOf(told)));
  return figures;
}"""
TAKE_PHASE = """(phase) => {
  const { phases } = window.noted;
  const found = phases.indexOf(phase);
  if (found >= 0) phases.splice(0, found + 1);
  return found >= 0;
}"""
POLL_MS = 50

# axe-core 4.10.3 (MPL-2.0, its licence beside it): for tests alone, the page loads nothing of it.
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => {
  const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
  const html = (nodes) => nodes.map((node) => node.html).join(" ").slice(0, 300);
  return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${html(nodes)}`);
}"""

Colour = tuple[float, float, float]


def findings(page: Page) -> list[str]:
    """What axe-core has to say about the page as it is now."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(f"() => {{ {AXE} }}")
    return page.evaluate(RUN_AXE)


def start(page: Page) -> None:
    page.click("#start")
    wait_live(page)


def start_session(page: Page) -> str:
    """Start, and the id of the session."""
    with page.expect_response(OFFER) as begun:
        start(page)
    return begun.value.headers["location"].rpartition("/")[2]


def wait_live(page: Page) -> None:
    is_live = "() => document.body.dataset.phase === 'live'"
    page.wait_for_function(is_live, timeout=LIVE_LIMIT_MS, polling=POLL_MS)


def wait_applied(page: Page, label: str) -> dict[str, str]:
    """Until the page has said so, once for each call, whatever it has said since of other commands.

    Returns the figures of the command: chunk, frame, latencyMs.
    """
    figures = page.wait_for_function(TAKE_APPLIED, arg=label, timeout=APPLIED_LIMIT_MS, polling=POLL_MS)
    return figures.json_value()


def wait_passed(page: Page, phase: str) -> None:
    """Until the page has been in this phase, however shortly, since the last phase that was waited for so."""
    page.wait_for_function(TAKE_PHASE, arg=phase, timeout=LIVE_LIMIT_MS, polling=POLL_MS)


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether it came true in time; it need not stay so."""
    end = time.monotonic() + limit_s
    while not (is_true := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return is_true


def wait_colour(page: Page, is_right: Callable[[float, float, float], bool], limit_s: float = 120.0) -> None:
    """Until the whole picture's mean colour is so."""
    seen: list[Colour] = []

    def looks_right() -> bool:
        seen.append(colour(page))
        return is_right(*seen[-1])

    assert wait_until(looks_right, limit_s), f"the picture's mean colour stays at {seen[-1]}"


def colour(page: Page, left: float = 0.0, right: float = 1.0, *, of: str = "output") -> Colour:
    """Mean red, green and blue between `left` and `right` of the width, below the frame number."""
    return tuple(page.evaluate(MEAN_COLOUR, [of, left, right]))


def session_view(server: Server, id: str) -> dict[str, Any]:
    """How a session stands, as GET /sessions/{id} has it."""
    return json.loads(server.get(f"/sessions/{id}"))


def begin_from_seed(server: Server, id: str, seed: int) -> None:
    """Reset the stream to a seed that no new session would have, and let it paint two chunks."""
    command = json.dumps({"type": "reset", "id": f"seed-{seed}", "seed": seed}).encode()

    def is_applied() -> bool:  # the same command once more: its answers so far
        url = f"{server.url}/sessions/{id}/commands"
        request = urllib.request.Request(url, command, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as response:
            return "applied" in [reply["type"] for reply in json.load(response)["replies"]]

    assert wait_until(is_applied, APPLIED_LIMIT_MS / 1000)
    assert wait_until(lambda: session_view(server, id)["figures"]["chunk"] >= 2, LIVE_LIMIT_MS / 1000)
    assert session_view(server, id)["settings"]["seed"]["current"] == seed


def wait_same_stream(server: Server, before: dict[str, Any]) -> None:
    """Until the session shows a later chunk than in `before`, counted on from there, settings unchanged."""
    chunk = before["figures"]["chunk"] or 0  # None: of none yet
    views: list[dict[str, Any]] = []

    def went_on() -> bool:
        views.append(session_view(server, before["id"]))
        return (views[-1]["figures"]["chunk"] or 0) > chunk + 1

    assert wait_until(went_on, LIVE_LIMIT_MS / 1000), f"still at chunk {views[-1]['figures']['chunk']}"
    for name in ("prompts", "seed", "references", "guidance", "recording"):
        assert views[-1]["settings"][name] == before["settings"][name]
    assert min(view["figures"]["chunk"] or 0 for view in views) >= chunk, "it did not begin again"


def frames_shown(page: Page) -> int:
    return page.evaluate("() => document.getElementById('output').getVideoPlaybackQuality().totalVideoFrames")


def is_free(server: Server) -> bool:
    return server.info()["sessions"] == 0 and server.gauge("depthlive_sessions") == 0
