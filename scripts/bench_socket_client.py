"""A headless client of the media WebSocket for measuring: as bench_client.py, with JPEGs for video."""

import asyncio
import io
import time
from collections.abc import Sequence

import aiohttp
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from scripts.bench_recording import Recording
from scripts.bench_session import BenchSession
from scripts.numbered_camera import NumberedCamera
from server.wire.credits import Allowance, Window
from server.wire.media_frame import Kind, MediaFrame, decode_frame

JPEG_QUALITY = 80
DOWNLOAD_WINDOW = 2  # pictures on their way at once


class BenchSocketClient:
    """One session over GET /ws, from the handshake to its end.

    recording = await BenchSocketClient(url, camera).run(seconds, prompts, patience)
    """

    def __init__(self, url: str, camera: NumberedCamera, *, echo: bool = False) -> None:
        self._url = f"{url.rstrip('/')}/ws"
        self._camera = camera
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._session = BenchSession(camera, self._texts.put_nowait, echo=echo)
        self._upload = Allowance()
        self._may_send = asyncio.Event()
        self._window = Window(DOWNLOAD_WINDOW)

    @property
    def recording(self) -> Recording:
        return self._session.recording

    async def run(
        self, seconds: float, prompts: Sequence[str], patience: float, switches: int = 0
    ) -> Recording:
        """As BenchSession.measure. Raises ConnectionError too, when the server refuses it or ends it."""
        self._session.offer()
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(self._url, max_msg_size=0) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                pumps = [self._read(socket), self._film(socket), self._write(socket)]
                running = [tasks.create_task(pump) for pump in pumps]
                await self._session.measure(seconds, prompts, patience, switches)
                for task in running:
                    task.cancel()
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{self._url}: {error}") from error
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return self.recording

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await self._give_credit(socket)
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._session.control.receive(message.data)
                continue
            if message.type is not aiohttp.WSMsgType.BINARY:
                words = f"{self._url}: the server closed the socket ({socket.close_code})"
                raise ConnectionError(f"{words}: {message.extra}" if message.extra else words)
            frame = decode_frame(message.data)
            if frame.kind is Kind.CREDIT:
                self._upload.raise_to(frame.sequence)
                self._may_send.set()
                continue
            self._window.receive(frame.sequence)
            luma = await asyncio.to_thread(_decode, frame.payload)
            self._session.note(luma, time.monotonic())
            self._window.done()
            await self._give_credit(socket)

    async def _film(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send the camera's newest frame whenever there is credit; the others are skipped."""
        while True:
            await self._may_send.wait()
            frame = await self._camera.recv()
            payload = await asyncio.to_thread(_encode, frame)
            taken = round(1_000_000 * float(frame.time or 0))
            message = MediaFrame(Kind.JPEG, self._upload.spend(), taken, payload=payload)
            if not self._upload.may_send:
                self._may_send.clear()
            await socket.send_bytes(message.encode())

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_str(await self._texts.get())

    async def _give_credit(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(MediaFrame(Kind.CREDIT, self._window.total).encode())


def _encode(frame: VideoFrame) -> bytes:
    data = io.BytesIO()
    Image.fromarray(frame.to_ndarray(format="rgb24")).save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def _decode(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"), np.uint8)
