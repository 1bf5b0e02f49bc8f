"""For tests: a client of the media WebSocket whose camera is the test's own."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from av import VideoFrame
from PIL import Image

from server.media.jpeg import MICROSECOND
from server.media.vp8 import Vp8Decoder, Vp8Encoder
from server.websocket.flow_control import Allowance, Window
from server.websocket.media_frame import Kind, MediaFrame, decode_frame
from tests.server.running import RunningServer, until

CAMERA_FPS = 60
DOWNLOAD_WINDOW = 2


def jpeg(grey: int, size: tuple[int, int] = (64, 48)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(data, "JPEG")
    return data.getvalue()


class MediaClient:
    """Publishes grey pictures, gives credit for each picture that comes, and keeps what it is told.

    They are VP8 as soon as the server wants that, if `takes_vp8`; else JPEGs.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, takes_vp8: bool = False) -> None:
        self.socket = socket
        self.takes_vp8 = takes_vp8
        self.wants: list[int] = []  # what the server wanted, in order
        self.shown: list[VideoFrame] = []  # pictures that came as VP8, decoded
        self.encoder: Vp8Encoder | None = None
        self.key_is_due = True
        self._decoder = Vp8Decoder()
        self.messages: list[dict[str, Any]] = []
        self.pictures: list[MediaFrame] = []
        self.upload = Allowance()
        self.gives_credit = True
        self.camera_runs = True
        self._window = Window(DOWNLOAD_WINDOW)
        self._granted = 0
        self._tasks = [asyncio.create_task(work) for work in (self._read(), self._film())]

    async def _read(self) -> None:
        if self.takes_vp8:
            await self.want(Kind.VP8)
        await self._give_credit()
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.messages.append(json.loads(message.data))
                continue
            frame = decode_frame(message.data)
            if frame.kind is Kind.CREDIT:
                self.upload.raise_to(frame.sequence)
                continue
            if frame.kind is Kind.CODEC_REQUEST:
                self.wants.append(frame.sequence)
                self.key_is_due = True
                if self.takes_vp8 and self.encoder is None:
                    self.encoder = Vp8Encoder()
                continue
            self._window.receive(frame.sequence)
            if frame.kind is Kind.VP8:
                self.shown.append(self._decoder.decode(frame.payload, frame.timestamp_us))
            self.pictures.append(frame)
            self._window.done()
            if self.gives_credit:
                await self._give_credit()

    async def _give_credit(self) -> None:
        self._granted = self._window.total
        await self.socket.send_bytes(MediaFrame(Kind.CREDIT, self._granted).encode())

    async def spend_credit(self) -> None:
        """Give none from now on; returns when all that was given is used."""
        self.gives_credit = False
        await until(lambda: self.pictures[-1].sequence + 1 == self._granted, "the last picture comes")

    async def _film(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.socket.closed:
            if self.upload.may_send and self.camera_runs:
                await self.film(round(loop.time() * 50) % 256)
            await asyncio.sleep(1 / CAMERA_FPS)

    async def film(self, grey: int) -> None:
        """One camera picture."""
        if self.encoder is None:
            return await self.publish(jpeg(grey))
        await self.publish(self.vp8(grey), Kind.VP8)

    def vp8(self, grey: int, size: tuple[int, int] = (64, 48)) -> bytes:
        """The next picture, coded; a key frame if the server has asked for one."""
        frame = VideoFrame.from_ndarray(np.full((size[1], size[0], 3), grey, np.uint8))
        frame.pts, frame.time_base = round(asyncio.get_running_loop().time() * 1e6), MICROSECOND
        key, self.key_is_due = self.key_is_due, False
        assert self.encoder is not None
        return self.encoder.encode(frame, 500_000, key=key)

    async def want(self, kind: Kind) -> None:
        await self.socket.send_bytes(MediaFrame(Kind.CODEC_REQUEST, kind).encode())

    async def publish(self, data: bytes, kind: Kind = Kind.JPEG) -> None:
        now = round(asyncio.get_running_loop().time() * 1e6)
        await self.socket.send_bytes(MediaFrame(kind, self.upload.spend(), now, payload=data).encode())

    async def ask(self, type: str, id: str, **fields: Any) -> None:
        await self.socket.send_json({"type": type, "id": id, **fields})

    async def message(self, type: str, **fields: Any) -> dict[str, Any]:
        """The first such message, waiting for it."""

        def found() -> list[dict[str, Any]]:
            return [m for m in self.messages if m["type"] == type and fields.items() <= m.items()]

        await until(lambda: bool(found()), f"{type} {fields} in {self.messages}")
        return found()[0]

    async def live(self) -> "MediaClient":
        await self.message("state", state="live")
        return self

    async def closed(self) -> int | None:
        """The close code, waiting for it."""
        await until(lambda: self.socket.closed, "the socket is closed")
        return self.socket.close_code

    def colours(self) -> list[tuple[int, ...]]:
        """Of the upper left pixel of each picture."""
        pixels = [np.asarray(Image.open(io.BytesIO(p.payload)))[0, 0] for p in self.pictures]
        return [tuple(map(int, pixel)) for pixel in pixels]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def media_client(
    server: RunningServer, former: str = "", query: str = "", takes_vp8: bool = False, **options: Any
) -> AsyncIterator[MediaClient]:
    """A connected client, which leaves at the end."""
    query = f"?session={former}" if former else query
    async with server.http.ws_connect(f"{server.url}/ws{query}", **options) as socket:
        client = MediaClient(socket, takes_vp8)
        try:
            yield client
        finally:
            await client.end()
