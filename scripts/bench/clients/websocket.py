"""A headless client of the media WebSocket for measuring: as webrtc.py, with VP8 or JPEGs for video."""

import asyncio
import io
import time
from collections.abc import Sequence

import aiohttp
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from scripts.bench.clients.measured_session import BenchSession
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.figures.run_record import RunRecord
from server.media.vp8 import Vp8Decoder, Vp8Encoder
from server.websocket.flow_control import Allowance, Window
from server.websocket.media_frame import Kind, MediaFrame, decode_frame

JPEG_QUALITY = 80
VP8_BITRATE = 2_000_000  # as the page at most
DOWNLOAD_WINDOW = 2  # pictures on their way at once


class BenchSocketClient:
    """One session over GET /ws, from the handshake to its end.

    recording = await BenchSocketClient(url, camera).run(seconds, prompts, patience)
    """

    def __init__(
        self, url: str, camera: NumberedCamera, *, echo: bool = False, kind: Kind = Kind.VP8
    ) -> None:
        """`kind`: what the pictures are, both ways, Kind.JPEG or Kind.VP8."""
        self._url = f"{url.rstrip('/')}/ws"
        self._camera = camera
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._session = BenchSession(camera, self._texts.put_nowait, echo=echo)
        self._upload = Allowance()
        self._may_send = asyncio.Event()
        self._window = Window(DOWNLOAD_WINDOW)
        self._kind = kind
        self._encoder: Vp8Encoder | None = None
        self._is_key_due = True
        self._decoder = Vp8Decoder()

    @property
    def recording(self) -> RunRecord:
        return self._session.recording

    async def run(
        self, seconds: float, prompts: Sequence[str], patience: float, switches: int = 0
    ) -> RunRecord:
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
        await socket.send_bytes(MediaFrame(Kind.CODEC_REQUEST, self._kind).encode())
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
            if frame.kind is Kind.CODEC_REQUEST:
                self._answer(Kind(frame.sequence))
                continue
            self._window.receive(frame.sequence)
            self.recording.received.append((time.monotonic(), len(message.data)))
            luma = await asyncio.to_thread(self._decode, frame)
            self._session.note(luma, time.monotonic())
            self._window.done()
            await self._give_credit(socket)

    async def _film(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send the camera's newest frame whenever there is credit; the others are skipped."""
        while True:
            await self._may_send.wait()
            frame = await self._camera.recv()
            kind, payload = await asyncio.to_thread(self._encode, frame)
            taken = round(1_000_000 * float(frame.time or 0))
            message = MediaFrame(kind, self._upload.spend(), taken, payload=payload).encode()
            if not self._upload.may_send:
                self._may_send.clear()
            self.recording.sent.append((time.monotonic(), len(message)))
            await socket.send_bytes(message)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_str(await self._texts.get())

    async def _give_credit(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(MediaFrame(Kind.CREDIT, self._window.total).encode())

    def _answer(self, wanted: Kind) -> None:
        """VP8 begins anew, with a key frame, each time it is wanted."""
        if wanted is Kind.VP8 and self._kind is Kind.VP8:
            self._encoder = self._encoder or Vp8Encoder()
            self._is_key_due = True
        else:
            self._encoder = None

    def _encode(self, frame: VideoFrame) -> tuple[Kind, bytes]:
        encoder, key = self._encoder, self._is_key_due
        if encoder is None:
            data = io.BytesIO()
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(data, "JPEG", quality=JPEG_QUALITY)
            return Kind.JPEG, data.getvalue()
        self._is_key_due = False
        return Kind.VP8, encoder.encode(frame, VP8_BITRATE, key=key)

    def _decode(self, frame: MediaFrame) -> NDArray[np.uint8]:
        """The luma, (H, W)."""
        if frame.kind is Kind.VP8:
            picture = self._decoder.decode(frame.payload, frame.timestamp_us)
            return np.asarray(picture.to_ndarray(format="gray"), np.uint8)
        with Image.open(io.BytesIO(frame.payload)) as image:
            return np.asarray(image.convert("L"), np.uint8)
