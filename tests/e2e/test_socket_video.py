"""What is on the page's WebSocket: VP8 where the browser can, JPEGs where it cannot or where it fails."""

import pytest
from playwright.sync_api import WebSocket

from server.websocket.media_frame import PICTURES, Kind, MediaFrame, decode_frame
from tests.e2e.page import FREED_LIMIT_S, frames_shown, is_free, start, wait_until
from tests.e2e.servers import Server
from tests.e2e.visits import OpenPage, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LEAST_PICTURES = 30
SHOWN_LIMIT_S = 120.0
WITHOUT_ENCODER = "delete window.VideoEncoder;"
BROKEN = (
    "delete window.VideoDecoder; let count = 0; const { encode } = VideoEncoder.prototype;"
    "VideoEncoder.prototype.encode = function (frame, options) {"
    "  if (count++ > 20) { window.refused = frame; throw new DOMException('no more', 'OperationError'); }"
    "  return encode.call(this, frame, options);"
    "};"
)
# A picture whose code is damaged, once, of those that build on others: on its way to the server, or from it.
DAMAGED_UP = (
    "window.WebSocket = class extends WebSocket {"
    "  send(data) {"
    "    const bytes = typeof data === 'string' ? [] : data;"
    "    if (bytes[1] === 2 && bytes[16] & 1 && !window.damaged) {"
    "      window.damaged = true;"
    "      bytes.fill(255, 17);"
    "    }"
    "    super.send(data);"
    "  }"
    "};"
)
DAMAGED_DOWN = (
    "const { decode } = VideoDecoder.prototype;"
    "VideoDecoder.prototype.decode = function (chunk) {"
    "  const { type, timestamp } = chunk;"
    "  if (type === 'key' || window.damaged) return decode.call(this, chunk);"
    "  window.damaged = true;"
    "  const data = new Uint8Array([1, 255, 255, 255]);"
    "  decode.call(this, new EncodedVideoChunk({ type, timestamp, data }));"
    "};"
)


class Traffic:
    """The pictures, and what was wanted of them, that went through a page's WebSocket."""

    def __init__(self) -> None:
        self.sent: list[MediaFrame] = []
        self.received: list[MediaFrame] = []

    def watch(self, visit: Visit) -> None:
        visit.on("websocket", self._on_socket)

    def _on_socket(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: self._note(self.sent, payload))
        socket.on("framereceived", lambda payload: self._note(self.received, payload))

    def _note(self, frames: list[MediaFrame], payload: str | bytes) -> None:
        if isinstance(payload, bytes) and (frame := decode_frame(payload)).kind is not Kind.CREDIT:
            frames.append(frame)


def newest(frames: list[MediaFrame]) -> set[Kind]:
    return {frame.kind for frame in frames[-10:] if frame.kind in PICTURES}


@pytest.mark.parametrize(
    ("script", "up", "down"),
    [
        ("", Kind.VP8, Kind.VP8),
        (WITHOUT_ENCODER, Kind.JPEG, Kind.VP8),
        (BROKEN, Kind.JPEG, Kind.JPEG),
    ],
    ids=["can", "has no encoder", "has no decoder, and an encoder that breaks"],
)
def test_generated_pictures_are_shown_whatever_the_browser_can_code(
    open_page: OpenPage, server: Server, script: str, up: Kind, down: Kind
) -> None:
    traffic = Traffic()

    def prepare(visit: Visit) -> None:
        traffic.watch(visit)
        visit.add_script(script or "0")

    visit = open_page(prepare=prepare, path="/?transport=ws")
    page = visit.page
    start(page)
    shown = frames_shown(page)

    def has_settled() -> bool:
        page.wait_for_timeout(100)  # events of the socket come meanwhile
        enough = frames_shown(page) > shown + LEAST_PICTURES
        return enough and (newest(traffic.sent), newest(traffic.received)) == ({up}, {down})

    assert wait_until(has_settled, SHOWN_LIMIT_S), (newest(traffic.sent), newest(traffic.received))
    keys = [frame for frame in traffic.sent if frame.kind is Kind.VP8 and not frame.payload[0] & 1]
    if up is Kind.VP8:
        assert 1 <= len(keys) <= 4, "pictures build on each other"
    if script == BROKEN:
        assert page.evaluate("() => window.refused.format") is None, "it was closed"
    page.click("#stop")
    assert wait_until(lambda: is_free(server), FREED_LIMIT_S)
    assert visit.errors == []


@pytest.mark.parametrize("script", [DAMAGED_UP, DAMAGED_DOWN], ids=["up", "down"])
def test_a_damaged_picture_costs_a_key_frame_and_the_stream_goes_on(
    open_page: OpenPage, server: Server, script: str
) -> None:
    traffic = Traffic()

    def prepare(visit: Visit) -> None:
        traffic.watch(visit)
        visit.add_script(script)

    page = open_page(prepare=prepare, path="/?transport=ws").page
    start(page)
    shown = frames_shown(page)

    def went_on() -> bool:
        page.wait_for_timeout(100)
        return page.evaluate("() => window.damaged") and frames_shown(page) > shown + LEAST_PICTURES

    assert wait_until(went_on, SHOWN_LIMIT_S)
    asked, other = (
        (traffic.received, traffic.sent) if script == DAMAGED_UP else (traffic.sent, traffic.received)
    )
    wanted = [[frame.kind for frame in frames].count(Kind.CODEC_REQUEST) for frames in (asked, other)]
    assert wanted == [2, 1], "at first, and then once more by whom it met"
    assert newest(traffic.sent) == newest(traffic.received) == {Kind.VP8}
    page.click("#stop")
    assert wait_until(lambda: is_free(server), FREED_LIMIT_S)
