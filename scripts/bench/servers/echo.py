"""Server that gives the camera's frames back as they come: the floor of latency, which no model can beat.

python -m scripts.bench.servers.echo --port 8090
"""

from collections import deque
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import WSMsgType, web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecCapability

from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer
from server.websocket.flow_control import Allowance, Window
from server.websocket.media_frame import MAX_MESSAGE_BYTES, Kind, MediaFrame, decode_frame

PAGE = Path(__file__).with_name("echo.html")
MODULES = Path(__file__).resolve().parents[3] / "client_web"  # the real page's, for its WebSocket
ANSWER_TYPE = "application/sdp"
NO_EVAL = {
    "Content-Security-Policy": "script-src 'self' 'unsafe-inline'"
}  # as strict as the real page in this
UPLOAD_WINDOW = 3  # as the real server


def main(port: Annotated[int, typer.Option(min=1, max=65535)] = 8090) -> None:
    """Serve on the loopback until interrupted."""
    web.run_app(create_echo(), host="127.0.0.1", port=port, print=None)


def create_echo() -> web.Application:
    """WHIP without sessions: an offer with a video track gets this track back. So does the WebSocket."""
    peers: dict[str, RTCPeerConnection] = {}
    ids = count(1)

    async def offer(request: web.Request) -> web.Response:
        pc, id = RTCPeerConnection(RTCConfiguration(iceServers=[])), str(next(ids))
        peers[id] = pc
        transceiver = pc.addTransceiver("video", direction="sendrecv")
        transceiver.setCodecPreferences(_h264_first())  # as the real server
        use_marker_jitter_buffer(transceiver.receiver)  # likewise

        def give_back(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                transceiver.sender.replaceTrack(track)

        pc.on("track", give_back)
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        headers = {"Location": f"/whip/{id}", "Content-Type": ANSWER_TYPE}
        return web.Response(status=201, text=pc.localDescription.sdp, headers=headers)

    async def delete(request: web.Request) -> web.Response:
        pc = peers.pop(request.match_info["id"], None)
        if pc is not None:
            await pc.close()
        return web.Response(status=200 if pc else 404)

    async def close_all(_: web.Application) -> None:
        for pc in peers.values():
            await pc.close()

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE, headers=NO_EVAL)

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ready")

    app = web.Application()
    app.on_shutdown.append(close_all)
    app.router.add_get("/", page)
    app.router.add_get("/readyz", ready)
    app.router.add_post("/whip", offer)
    app.router.add_delete("/whip/{id}", delete)
    app.router.add_get("/ws", echo_socket)
    app.router.add_static("/page", MODULES)
    return app


async def echo_socket(request: web.Request) -> web.WebSocketResponse:
    """The media WebSocket: every picture goes back as it is, and so does what the client wants.

    One for which there is no credit waits, and the camera with it: with VP8 none may be left out.
    """
    socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False)
    await socket.prepare(request)
    window, allowance = Window(UPLOAD_WINDOW), Allowance()
    waiting: deque[MediaFrame] = deque()  # no more than the window has
    await socket.send_bytes(MediaFrame(Kind.CREDIT, window.total).encode())
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            continue
        frame = decode_frame(message.data)
        if frame.kind is Kind.CODEC_REQUEST:
            await socket.send_bytes(frame.encode())
        elif frame.kind is Kind.CREDIT:
            allowance.raise_to(frame.sequence)
        else:
            window.receive(frame.sequence)
            waiting.append(frame)
        while waiting and allowance.may_send:
            await socket.send_bytes(replace(waiting.popleft(), sequence=allowance.spend()).encode())
            window.done()
            await socket.send_bytes(MediaFrame(Kind.CREDIT, window.total).encode())
    return socket


def _h264_first() -> list[RTCRtpCodecCapability]:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/h264")


if __name__ == "__main__":
    typer.run(main)
