"""What the browser tests ask of a page again and again."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Server

OFFER = re.compile(r"/whip(\?|$)")  # where offers go; not whip.js
LIVE_LIMIT_MS = 150_000
APPLIED_LIMIT_MS = 100_000
FREED_LIMIT_S = 5.0  # less than the peer timeout, by which the server frees a place that nobody gave back

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

Colour = tuple[float, float, float]


def start(page: Page) -> None:
    page.click("#start")
    wait_live(page)


def wait_live(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=LIVE_LIMIT_MS)


def wait_applied(page: Page, label: str) -> dict[str, str]:
    """Returns the figures of the command: chunk, frame, latencyMs."""
    words = re.compile(rf"^{label} applied( at chunk \d+, frame \d+,)? after \d+ ms\.$")
    expect(page.locator("#command")).to_have_text(words, timeout=APPLIED_LIMIT_MS)
    return page.evaluate("() => ({ ...document.getElementById('command').dataset })")


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


def frames_shown(page: Page) -> int:
    return page.evaluate("() => document.getElementById('output').getVideoPlaybackQuality().totalVideoFrames")


def is_free(server: Server) -> bool:
    return server.info()["sessions"] == 0 and server.gauge("depthlive_sessions") == 0
