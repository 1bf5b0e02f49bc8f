"""Publish a video file to a running server and save what comes back, painted as the prompt says.

python examples/publish_file.py clip.mp4 painted.mp4 "a statue of molten gold" http://127.0.0.1:8080
"""

import asyncio
import json
import sys
from fractions import Fraction

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRecorder
from av import VideoFrame

FPS = 30  # of MediaRecorder's files: two pictures of one thirtieth would end the recording


class Spaced(MediaStreamTrack):
    """A track's pictures, at most one a thirtieth of a second."""

    kind = "video"

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self._track, self._last = track, -1

    async def recv(self) -> VideoFrame:
        while (slot := int((frame := await self._track.recv()).time * FPS)) <= self._last:
            pass
        self._last = frame.pts = slot
        frame.time_base = Fraction(1, FPS)
        return frame


async def publish(source: str, target: str, prompt: str, server: str, *, tail: float = 3.0) -> None:
    """Play `source` as the camera; `tail` seconds after its end, what is still on its way has come back."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    clip, recorder, ended = MediaPlayer(source).video, MediaRecorder(target), asyncio.Event()
    if clip is None:
        raise SystemExit(f"{source} has no video")
    clip.on("ended", ended.set)
    peer.on("track", lambda track: recorder.addTrack(Spaced(track)))
    peer.addTransceiver(clip, direction="sendrecv")
    control = peer.createDataChannel("control")
    command = json.dumps({"type": "prompt.set", "id": "1", "text": prompt})
    control.on("open", lambda: control.send(command))
    control.on("message", print)
    await peer.setLocalDescription(await peer.createOffer())
    try:
        async with aiohttp.ClientSession(server, headers={"Content-Type": "application/sdp"}) as http:
            async with http.post("/whip", data=peer.localDescription.sdp) as response:
                answer, session = await response.text(), response.headers.get("Location")
            if session is None:
                raise SystemExit(f"the server refuses: {answer}")
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await recorder.start()
            await ended.wait()
            await asyncio.sleep(tail)
            await recorder.stop()
            await http.delete(session)
    finally:
        await peer.close()


if __name__ == "__main__":
    asyncio.run(publish(*sys.argv[1:]))
