"""Clients that nobody here wrote: whip-whep 1.2.0 from npm publishes and watches, in Chromium."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.page import is_free, wait_until
from tests.e2e.servers import Server
from tests.e2e.visits import OpenPage, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# whip-whep 1.2.0 (MIT, its licence beside it): for tests alone, the page loads nothing of it.
VENDOR = Path(__file__).parent / "vendor"
MOVING_LIMIT_S = 60.0
CODEC_LIMIT_S = 60.0
LINGER_MS = 3000  # longer than the server keeps a path that an ICE restart has left

PUBLISH = """async () => {
  const { WHIPClient } = await import("/vendor/whip.js");
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
  const sound = new AudioContext().createMediaStreamDestination().stream;
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  for (const track of [...sound.getTracks(), ...media.getTracks()])
    peer.addTransceiver(track, { direction: "sendonly" });
  window.client = new WHIPClient();
  window.peer = peer;
  await window.client.publish(peer, new URL("/whip", location.href));
  return new URL(window.client.resourceURL).pathname;
}"""
WATCH = """async ([session, codec]) => {
  const { WHEPClient } = await import("/vendor/whep.js");
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  peer.addTransceiver("audio", { direction: "recvonly" });
  const video = peer.addTransceiver("video", { direction: "recvonly" });
  if (codec) {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    video.setCodecPreferences(codecs.filter(({ mimeType }) => [codec, "video/rtx"].includes(mimeType)));
  }
  const element = document.createElement("video");
  element.id = "seen";
  element.muted = element.autoplay = true;
  element.srcObject = new MediaStream([video.receiver.track]);
  document.body.replaceChildren(element);
  window.client = new WHEPClient();
  window.peer = peer;
  await window.client.view(peer, new URL(`/sessions/${session}/whep`, location.href));
}"""
# Whether three pictures differ each from the one before, however slowly they come.
MOVES = """async (limit) => {
  const video = document.getElementById("seen");
  const canvas = new OffscreenCanvas(16, 9);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const late = new Promise((end) => setTimeout(end, limit, "late"));
  let before = null;
  for (let changes = 0; changes < 3; ) {
    const next = new Promise((shown) => video.requestVideoFrameCallback(shown));
    if ((await Promise.race([next, late])) === "late") return false;
    context.drawImage(video, 0, 0, 16, 9);
    const seen = context.getImageData(0, 0, 16, 9).data;
    changes += Number(before?.some((value, i) => Math.abs(value - seen[i]) > 4) ?? false);
    before = seen;
  }
  return true;
}"""
SIZE = """() => {
  const { videoWidth, videoHeight } = document.getElementById("seen");
  return [videoWidth, videoHeight];
}"""
CODECS = """async () => {
  const report = [...(await window.peer.getStats()).values()];
  const streams = report.filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return streams.map(({ codecId }) => report.find(({ id }) => id === codecId)?.mimeType);
}"""

# The server's, in use.
PORT = """async () => {
  const report = await window.peer.getStats();
  const { selectedCandidatePairId } = [...report.values()].find(({ type }) => type === "transport");
  return report.get(report.get(selectedCandidatePairId).remoteCandidateId).port;
}"""


@pytest.fixture
def open_client(open_page: OpenPage, server: Server):
    """An empty page of the server's own site that can load the clients."""

    def serve_vendor(visit: Visit) -> None:
        visit.page.route(
            "**/vendor/*.js",
            lambda route: route.fulfill(
                path=VENDOR / route.request.url.rpartition("/")[2], content_type="text/javascript"
            ),
        )

    def open_it() -> Page:
        return open_page(prepare=serve_vendor, path="/healthz").page

    return open_it


def moves(page: Page) -> bool:
    return page.evaluate(MOVES, 1000 * MOVING_LIMIT_S)


def state_of(server: Server, session: str) -> dict[str, Any]:
    return json.loads(server.get(f"/sessions/{session}"))


def test_a_published_whip_client_publishes_and_a_whep_client_watches_beside_it(
    open_client, server: Server
) -> None:
    publisher, viewer, other = open_client(), open_client(), open_client()
    session = publisher.evaluate(PUBLISH).rpartition("/")[2]
    assert wait_until(lambda: state_of(server, session)["figures"]["chunk"] is not None, MOVING_LIMIT_S)
    viewer.evaluate(WATCH, [session, None])
    other.evaluate(WATCH, [session, "video/VP8"])
    assert moves(viewer), "the viewer's pictures move"
    assert moves(other)
    size = viewer.evaluate(
        "() => { const v = document.getElementById('seen'); return [v.videoWidth, v.videoHeight]; }"
    )
    model = server.info()["model"]
    assert size == [model["width"], model["height"]]
    assert server.info()["sessions"] == 1 and server.gauge("depthlive_viewers") == 2
    # Codec choice: the server's first unless the viewer can only do the other.
    assert viewer.evaluate(CODECS) == ["video/H264"] and other.evaluate(CODECS) == ["video/VP8"]
    other.evaluate("() => window.client.stop()")
    assert wait_until(lambda: server.gauge("depthlive_viewers") == 1, CODEC_LIMIT_S)
    assert moves(viewer), "who stays goes on watching"
    publisher.evaluate("() => window.client.stop()")
    assert wait_until(lambda: is_free(server), CODEC_LIMIT_S)
    assert wait_until(lambda: server.gauge("depthlive_viewers") == 0, CODEC_LIMIT_S)


def test_the_published_clients_restart_their_ice(open_client, server: Server) -> None:
    publisher, viewer = open_client(), open_client()
    session = publisher.evaluate(PUBLISH).rpartition("/")[2]
    assert wait_until(lambda: state_of(server, session)["figures"]["chunk"] is not None, MOVING_LIMIT_S)
    viewer.evaluate(WATCH, [session, None])
    assert moves(viewer)
    for page in (publisher, viewer):
        port = page.evaluate(PORT)
        page.evaluate("() => window.client.restart()")
        assert wait_until(lambda page=page, port=port: page.evaluate(PORT) != port, CODEC_LIMIT_S)
    viewer.wait_for_timeout(LINGER_MS)
    figures = state_of(server, session)["figures"]
    assert moves(viewer), "pictures go on"
    assert wait_until(
        lambda: state_of(server, session)["figures"]["chunk"] > figures["chunk"] + 1, MOVING_LIMIT_S
    )
    assert state_of(server, session)["figures"]["camera_frames"] > figures["camera_frames"]
    states = [page.evaluate("() => window.peer.connectionState") for page in (publisher, viewer)]
    assert states == ["connected", "connected"]
    assert server.info()["sessions"] == 1 and server.gauge("depthlive_viewers") == 1
    publisher.evaluate("() => window.client.stop()")
    assert wait_until(lambda: is_free(server), CODEC_LIMIT_S)
