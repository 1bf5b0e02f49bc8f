"""A headless peer for measuring: sends numbered camera frames, notes when each number comes back.

One clock, `time.monotonic`, sees both ends of the trip. A frame is sent when the encoder here is handed it,
and back when its decoded picture is in hand: the camera's and the screen's own delays are not in it. aiortc
hands a frame out only when the next one begins to arrive, so every figure holds one picture interval that a
browser would not wait for.
"""

import asyncio
import contextlib
import fractions
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urljoin

import aiohttp
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageOps

from scripts import frame_number
from scripts.latency_figures import Arrival

CLOCK_RATE = 90000
LOOP_FRAMES = 48
PING_PERIOD_S = 2.0
APPLIED_LIMIT_S = 10.0
STATS_LIMIT_S = 5.0


class NumberedCamera(MediaStreamTrack):
    """A moving scene with the frame's number in its top tenth. Late frames are skipped, as a camera would."""

    kind = "video"

    def __init__(self, width: int, height: int, fps: float) -> None:
        super().__init__()
        self._fps = fps
        self._height = height
        self._began: float | None = None
        self._number = -1
        scene = [_scene(width, height, index / LOOP_FRAMES) for index in range(LOOP_FRAMES)]
        self._lumas = [Image.fromarray(picture).convert("L") for picture in scene]
        self._planes = [
            np.asarray(VideoFrame.from_ndarray(picture).reformat(format="yuv420p").to_ndarray(), np.uint8)
            for picture in scene
        ]
        self._sent: dict[int, tuple[float, int]] = {}  # number modulo 4096 -> when, full number

    async def recv(self) -> VideoFrame:
        """The next frame, at its time. `pts` is the frame's own number on a 90 kHz clock."""
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        self._began = self._began if self._began is not None else now
        self._number = max(self._number + 1, int((now - self._began) * self._fps))
        await asyncio.sleep(self._began + self._number / self._fps - now)
        planes = self._planes[self._number % LOOP_FRAMES].copy()
        frame_number.stamp(planes[: self._height], self._number)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = round(self._number * CLOCK_RATE / self._fps)
        frame.time_base = fractions.Fraction(1, CLOCK_RATE)
        self._sent[self._number % frame_number.MODULUS] = (time.monotonic(), self._number)
        return frame

    def match(self, luma: NDArray[np.uint8]) -> tuple[float, float] | None:
        """When the frame whose number `luma` (H, W) carries was sent, and how much the two differ, 0..255."""
        number = frame_number.read(luma)
        if number is None or number not in self._sent:
            return None
        sent, full_number = self._sent[number]
        height, width = luma.shape
        source = ImageOps.fit(self._lumas[full_number % LOOP_FRAMES], (width, height))
        below = height // 5  # clear of the stamp
        difference = np.asarray(source, np.float32)[below:] - luma[below:]
        return sent, float(np.abs(difference).mean())


def _scene(width: int, height: int, phase: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: two shaded discs circling before a patterned wall; `phase` 0..1 is one round."""
    y, x = np.mgrid[0:height, 0:width] / height
    wall = 0.5 + 0.25 * np.sin(9 * x + 2 * np.pi * phase) * np.cos(7 * y)
    picture = np.stack([wall * 0.9, wall * 0.8, wall], axis=-1)
    for radius, turn, colour in ((0.28, phase, (0.9, 0.6, 0.3)), (0.18, phase + 0.5, (0.3, 0.7, 0.9))):
        centre_x = width / height / 2 + 0.4 * np.cos(2 * np.pi * turn)
        centre_y = 0.55 + 0.15 * np.sin(2 * np.pi * turn)
        depth = 1 - ((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2
        inside = depth > 0
        picture[inside] = np.sqrt(depth[inside])[:, None] * colour
    return (picture * 255).astype(np.uint8)


@dataclass(slots=True)
class PromptSwitch:
    """One prompt.set of the run; times in milliseconds, None where no answer came."""

    text: str
    acknowledged_ms: float | None = None  # send to ack, seen here
    applied_ms: float | None = None  # send to `applied`, seen here
    server_latency_ms: float | None = (
        None  # the server's own figure: arrival to the first picture handed over
    )
    chunk: int | None = None
    frame: int | None = None


@dataclass(slots=True)
class Recording:
    """Everything one run has seen."""

    offered: float
    arrivals: list[Arrival] = field(default_factory=list)
    model: dict[str, Any] | None = None
    states: list[tuple[float, str]] = field(default_factory=list)  # seconds since the offer, state
    telemetry: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, Any] | None = None
    switches: list[PromptSwitch] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class BenchClient:
    """One session, from the offer to its DELETE.

    recording = await BenchClient(url, camera).run(seconds, prompts, patience)
    """

    def __init__(self, url: str, camera: NumberedCamera) -> None:
        self._url = url.rstrip("/")
        self._camera = camera
        self._ids = count(1)
        self._is_live = False
        self._first_generated = asyncio.Event()
        self._stats_came = asyncio.Event()
        self._all_applied = asyncio.Event()
        self._all_applied.set()
        self._waiting: dict[str, tuple[PromptSwitch, float]] = {}
        self.recording = Recording(offered=0.0)

    async def run(self, seconds: float, prompts: Sequence[str], patience: float) -> Recording:
        """Measure for `seconds` after the first generated picture, switching prompts at even intervals.

        Raises TimeoutError when no generated picture comes within `patience` seconds, and ConnectionError
        when the server refuses the offer.
        """
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pumps: list[asyncio.Task[None]] = []
        pc.on("track", lambda track: pumps.append(asyncio.create_task(self._watch(track))))
        pc.addTransceiver(self._camera, direction="sendrecv")
        control = pc.createDataChannel("control")
        control.on("message", self._receive)
        pc.createDataChannel("telemetry", ordered=False, maxRetransmits=0).on("message", self._receive)
        try:
            async with aiohttp.ClientSession() as http:
                resource = await self._offer(pc, http)
                pumps.append(asyncio.create_task(self._heartbeat(control)))
                try:
                    await self._measure(control, seconds, prompts, patience)
                finally:
                    await http.delete(resource)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await pc.close()
        return self.recording

    async def _measure(self, control: Any, seconds: float, prompts: Sequence[str], patience: float) -> None:
        async with asyncio.timeout(patience):
            await self._first_generated.wait()
        await self._switch_prompts(control, seconds, prompts)
        await self._ask_stats(control)

    async def _offer(self, pc: RTCPeerConnection, http: aiohttp.ClientSession) -> str:
        self.recording.offered = time.monotonic()
        await pc.setLocalDescription(await pc.createOffer())
        offer = pc.localDescription.sdp
        headers = {"Content-Type": "application/sdp"}
        async with http.post(f"{self._url}/whip", data=offer, headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                raise ConnectionError(f"the server refused the offer ({response.status}): {answer}")
            resource = urljoin(str(response.url), response.headers["Location"])
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        return resource

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Note every picture that comes back, until the track or the run ends."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            now = time.monotonic()
            matched = self._camera.match(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
            sent, difference = matched or (None, None)
            arrival = Arrival(time=now, sent=sent, difference=difference, is_live=self._is_live)
            self.recording.arrivals.append(arrival)
            if arrival.is_generated:
                self._first_generated.set()

    def _receive(self, raw: str) -> None:
        message = json.loads(raw)
        match message["type"]:
            case "hello":
                self.recording.model = message["model"]
            case "state":
                self._is_live = message["state"] == "live"
                since = time.monotonic() - self.recording.offered
                self.recording.states.append((round(since, 3), message["state"]))
            case "telemetry":
                self.recording.telemetry.append(message)
            case "stats":
                self.recording.stats = message
                self._stats_came.set()
            case "ack" | "applied":
                self._answered(message)
            case "error":
                self.recording.errors.append(message["message"])

    def _answered(self, message: dict[str, Any]) -> None:
        if message["id"] not in self._waiting:
            return
        switch, sent = self._waiting[message["id"]]
        elapsed_ms = 1000 * (time.monotonic() - sent)
        if message["type"] == "ack":
            switch.acknowledged_ms = elapsed_ms
            return
        switch.applied_ms = elapsed_ms
        switch.server_latency_ms = message["latency_ms"]
        switch.chunk, switch.frame = message["chunk"], message["frame"]
        if all(other.applied_ms is not None for other in self.recording.switches):
            self._all_applied.set()

    async def _switch_prompts(self, control: Any, seconds: float, prompts: Sequence[str]) -> None:
        """Spread the prompts over the run; a run gets longer where the last one still has to take effect."""
        share = seconds / (len(prompts) + 1)
        for text in prompts:
            await asyncio.sleep(share)
            id = str(next(self._ids))
            switch = PromptSwitch(text)
            self.recording.switches.append(switch)
            self._waiting[id] = (switch, time.monotonic())
            self._all_applied.clear()
            control.send(json.dumps({"type": "prompt.set", "id": id, "text": text}))
        await asyncio.sleep(share)
        with contextlib.suppress(TimeoutError):  # the report says which were not applied
            async with asyncio.timeout(APPLIED_LIMIT_S):
                await self._all_applied.wait()

    async def _ask_stats(self, control: Any) -> None:
        control.send(json.dumps({"type": "stats", "id": str(next(self._ids))}))
        try:
            async with asyncio.timeout(STATS_LIMIT_S):
                await self._stats_came.wait()
        except TimeoutError:
            self.recording.errors.append(f"no answer to `stats` within {STATS_LIMIT_S:g} s")

    async def _heartbeat(self, control: Any) -> None:
        while True:
            if control.readyState == "open":
                control.send(json.dumps({"type": "ping", "id": str(next(self._ids))}))
            await asyncio.sleep(PING_PERIOD_S)
