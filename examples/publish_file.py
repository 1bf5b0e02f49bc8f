"""Publish a video file to a running server and save what comes back, painted as the prompt says.

python examples/publish_file.py clip.mp4 painted.mp4 "a statue of molten gold" http://127.0.0.1:8080
"""

import asyncio
import contextlib
import json
import sys

import aiohttp
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError


async def save(track: MediaStreamTrack, target: str) -> None:
    frame = await track.recv()
    with av.open(target, "w") as file:
        stream = file.add_stream("libx264", rate=30, width=frame.width, height=frame.height)
        stream.codec_context.time_base = frame.time_base  # each picture at its own time
        with contextlib.suppress(MediaStreamError):
            while True:
                file.mux(stream.encode(frame))
                frame = await track.recv()
        file.mux(stream.encode(None))


async def publish(source: str, target: str, prompt: str, server: str, *, tail: float = 3.0) -> None:
    """Play `source` as the camera; `tail` seconds after its end, what is still on its way has come back."""
    peer, ended = RTCPeerConnection(RTCConfiguration(iceServers=[])), asyncio.Event()
    clip = MediaPlayer(source).video
    clip.on("ended", ended.set)
    peer.addTransceiver(clip, direction="sendrecv")
    control = peer.createDataChannel("control")
    control.on("open", lambda: control.send(json.dumps({"type": "prompt.set", "id": "1", "text": prompt})))
    control.on("message", print)
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession(server, headers={"Content-Type": "application/sdp"}) as http:
        async with http.post("/whip", data=peer.localDescription.sdp) as response:
            answer, session = await response.text(), response.headers.get("Location")
        if session is None:
            await peer.close()
            raise SystemExit(f"the server refuses: {answer}")
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        saving = asyncio.create_task(save(peer.getReceivers()[0].track, target))
        await ended.wait()
        await asyncio.sleep(tail)
        await http.delete(session)
    await peer.close()
    await saving


if __name__ == "__main__":
    asyncio.run(publish(*sys.argv[1:]))
