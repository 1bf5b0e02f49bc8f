"""Chromium restarts its ICE by PATCH: the same session goes on over another path."""

import json
from typing import Any

import pytest

from tests.e2e.page import is_free, wait_until
from tests.e2e.servers import Server
from tests.e2e.visits import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOVING_LIMIT_S = 60.0
RESTART_LIMIT_S = 60.0

PUBLISH = """async () => {
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const video = peer.addTransceiver(media.getVideoTracks()[0], { direction: "sendrecv" });
  const control = peer.createDataChannel("control");
  window.heard = [];
  control.onmessage = ({ data }) => window.heard.push(JSON.parse(data));
  const element = document.createElement("video");
  element.id = "seen";
  element.muted = element.autoplay = true;
  element.srcObject = new MediaStream([video.receiver.track]);
  document.body.replaceChildren(element);
  window.states = [];
  peer.onconnectionstatechange = () => window.states.push(peer.connectionState);
  window.gathered = async () => {
    while (peer.iceGatheringState !== "complete") await new Promise((next) => setTimeout(next, 50));
    return peer.localDescription.sdp;
  };
  await peer.setLocalDescription(await peer.createOffer());
  const headers = { "Content-Type": "application/sdp" };
  const response = await fetch("/whip", { method: "POST", body: await window.gathered(), headers });
  Object.assign(window, { peer, control, resource: response.headers.get("Location") });
  await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
  return window.resource;
}"""
RESTART = """async () => {
  const { peer } = window;
  peer.restartIce();
  await peer.setLocalDescription(await peer.createOffer());
  const [, media] = (await window.gathered()).split(/^(?=m=)/m);
  const wanted = /^(m=|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:)/;
  const body = [...media.split("\\r\\n").filter((line) => wanted.test(line)), "a=end-of-candidates", ""];
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
  const response = await fetch(window.resource, { method: "PATCH", body: body.join("\\r\\n"), headers });
  const fragment = await response.text();
  if (!response.ok) return [response.status, fragment, null];
  const theirs = fragment.split("\\r\\n");
  const only = (start) => theirs.filter((line) => line.startsWith(start));
  const [head, first, ...others] = peer.remoteDescription.sdp.split(/^(?=m=)/m).map((section) => section
    .replace(/^a=(candidate:.*|end-of-candidates)\\r\\n/gm, "")
    .replace(/^a=ice-ufrag:.*/m, only("a=ice-ufrag:")[0])
    .replace(/^a=ice-pwd:.*/m, only("a=ice-pwd:")[0]));
  const sdp = head + first + only("a=candidate:").map((line) => line + "\\r\\n").join("") + others.join("");
  await peer.setRemoteDescription({ type: "answer", sdp });
  return [response.status, fragment, response.headers.get("ETag")];
}"""
# The server's port, the client's ufrag, and how many pictures were decoded.
PATH = """async () => {
  const report = await window.peer.getStats();
  const of = (type) => [...report.values()].find((one) => one.type === type);
  const { selectedCandidatePairId, iceLocalUsernameFragment, dtlsState } = of("transport");
  const pair = report.get(selectedCandidatePairId);
  const { framesDecoded } = of("inbound-rtp");
  const { port } = report.get(pair.remoteCandidateId);
  return { port, ufrag: iceLocalUsernameFragment, dtlsState, framesDecoded };
}"""


def state_of(server: Server, session: str) -> dict[str, Any]:
    return json.loads(server.get(f"/sessions/{session}"))


def test_a_browser_restarts_its_ice_and_the_session_goes_on(open_page: OpenPage, server: Server) -> None:
    page = open_page(path="/healthz").page
    session = page.evaluate(PUBLISH).rpartition("/")[2]
    assert wait_until(lambda: state_of(server, session)["figures"]["chunk"] is not None, MOVING_LIMIT_S)
    assert wait_until(lambda: page.evaluate(PATH)["framesDecoded"] > 20, MOVING_LIMIT_S)
    before, chunk = page.evaluate(PATH), state_of(server, session)["figures"]["chunk"]
    status, fragment, etag = page.evaluate(RESTART)
    assert (status, bool(etag)) == (200, True), fragment
    assert wait_until(lambda: page.evaluate(PATH)["port"] != before["port"], RESTART_LIMIT_S)
    page.wait_for_timeout(3000)  # by now the server has closed the old path
    middle = page.evaluate(PATH)
    assert f" {middle['port']} typ host" in fragment and middle["ufrag"] != before["ufrag"]
    assert wait_until(
        lambda: page.evaluate(PATH)["framesDecoded"] > middle["framesDecoded"] + 20, MOVING_LIMIT_S
    )
    assert wait_until(lambda: state_of(server, session)["figures"]["chunk"] > chunk + 1, MOVING_LIMIT_S)
    assert page.evaluate(PATH)["dtlsState"] == "connected"
    assert page.evaluate("() => window.states") == ["connecting", "connected"]
    assert server.info()["sessions"] == 1
    page.evaluate("() => window.control.send(JSON.stringify({ type: 'ping', id: 'after' }))")
    pong = "() => window.heard.some(({ type, id }) => type === 'pong' && id === 'after')"
    assert wait_until(lambda: page.evaluate(pong), RESTART_LIMIT_S), "the channel goes on, too"
    assert page.evaluate("() => window.heard.filter(({ type }) => type === 'hello').length") == 1
    page.evaluate("() => fetch(window.resource, { method: 'DELETE' })")
    assert wait_until(lambda: is_free(server), RESTART_LIMIT_S)
