"""Client whose light swells around a click, and which notes when each of them comes back.

The light is a ramp: how bright it is tells how far away the click is, so every picture of it tells when the
click's own picture would be seen, and not only the brightest.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from urllib.parse import urljoin

import aiohttp
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from scripts.bench.servers.loopback_ice import ice_on_loopback
from server.session.sound.opus import BLOCK, OpusDecoder
from server.session.sound.packets import RATE_HZ
from server.webrtc.aiortc_patches.coded_sound import take_coded_sound
from server.webrtc.aiortc_patches.jitter_buffer import use_marker_jitter_buffer

FPS = 30.0
SIZE = (320, 180)
STAMP = 10  # of a picture's rows, one in so many is the camera's own, with --stamp-source
PERIOD_S = 2.3  # from click to click
SWELL_S = 0.4  # of light before a click, and after it
DARK, BRIGHT = 30, 225
MARGIN = 12  # of brightness at both ends of the ramp, where coding rounds it off
CLICK_S = 0.004
CLICK_HZ = 2000.0
LOUD = 5000  # of 32767

Moment = float
Sight = tuple[Moment, float]  # when a picture was seen, and how many seconds after its click it was taken


class Lamp(MediaStreamTrack):
    """The camera. Clicks are at whole multiples of PERIOD_S since `began`, on the monotonic clock."""

    kind = "video"

    def __init__(self, began: Moment) -> None:
        super().__init__()
        self._began, self._number = began, 0

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number += 1
        due = self._began + self._number / FPS
        await asyncio.sleep(due - time.monotonic())
        width, height = SIZE
        frame = VideoFrame.from_ndarray(np.full((height, width, 3), brightness(due - self._began), np.uint8))
        frame.pts, frame.time_base = round(self._number * 90_000 / FPS), Fraction(1, 90_000)
        return frame


class Clicker(MediaStreamTrack):
    """The microphone, which hands over a block when its last sample has been heard."""

    kind = "audio"

    def __init__(self, began: Moment) -> None:
        super().__init__()
        self._began, self._number = began, 0

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        first = self._number * BLOCK
        self._number += 1
        await asyncio.sleep(self._began + (first + BLOCK) / RATE_HZ - time.monotonic())
        times = (first + np.arange(BLOCK)) / RATE_HZ
        since = (times + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2
        wave = np.where((since >= 0) & (since < CLICK_S), np.sin(2 * np.pi * CLICK_HZ * since), 0) * 20_000
        frame = AudioFrame.from_ndarray(np.repeat(np.rint(wave).astype(np.int16), 2)[None], format="s16")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, first, Fraction(1, RATE_HZ)
        return frame


def brightness(seconds: float) -> int:
    """Of the light, that long after the beginning."""
    since = (seconds + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2
    if not -SWELL_S < since < SWELL_S:
        return DARK
    return round(DARK + (BRIGHT - DARK) * (since + SWELL_S) / (2 * SWELL_S))


def since_click(level: float) -> float | None:
    """How long after its click a picture of this brightness was taken; None where that is not to be told."""
    if not DARK + MARGIN < level < BRIGHT - MARGIN:
        return None
    return (level - DARK) / (BRIGHT - DARK) * 2 * SWELL_S - SWELL_S


def stamp_level(gray: np.ndarray) -> float:
    """Mean of the rows that are the camera's own."""
    rows = max(1, gray.shape[0] // STAMP - 1)
    return float(gray[:rows].mean())


@dataclass(slots=True)
class Noted:
    """What came back: pictures of the light, and clicks."""

    sights: list[Sight] = field(default_factory=list[Sight])
    clicks: list[Moment] = field(default_factory=list[Moment])

    def see(self, gray: np.ndarray, at: Moment) -> None:
        if (since := since_click(stamp_level(gray))) is not None:
            self.sights.append((at, since))

    def hear(self, left: np.ndarray, begin: Moment) -> None:
        loud = np.flatnonzero(np.abs(left.astype(np.int32)) > LOUD)
        if len(loud) and (moment := begin + int(loud[0]) / RATE_HZ) > (self.clicks or [0.0])[-1] + 0.2:
            self.clicks.append(moment)

    def errors(self, begin: Moment = float("-inf"), end: Moment = float("inf")) -> list[float]:
        """Of each click of that time with its pictures, in seconds: how much too late it was heard."""
        found: list[float] = []
        for click in self.clicks:
            near = [
                at - since for at, since in self.sights if abs(at - since - click) < PERIOD_S / 2 - SWELL_S
            ]
            if begin <= click < end and len(near) >= 3:
                found.append(click - float(np.median(near)))
        return found


class SpeakingClient:
    """One WHIP connection with light and clicks: `await connect()`, `send(message)`, `await close()`."""

    def __init__(self, url: str, noted: Noted, former: str | None = None) -> None:
        """`former`: the session to go on with."""
        self.session = ""
        self.messages: list[dict[str, Any]] = []
        self._url, self._noted, self._former = url.rstrip("/"), noted, former
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        began = time.monotonic()
        self._tracks = (Lamp(began), Clicker(began))
        self._channel: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._decoder = OpusDecoder()

    async def connect(self, http: aiohttp.ClientSession) -> None:
        """Raises ConnectionError when the server refuses the offer."""
        pc = self._pc
        self._channel = pc.createDataChannel("control")
        self._channel.on("message", lambda raw: self.messages.append(json.loads(raw)))
        pc.on("track", self._on_track)
        video, audio = (pc.addTransceiver(track, direction="sendrecv") for track in self._tracks)
        use_marker_jitter_buffer(video.receiver)  # as browsers do
        take_coded_sound(audio.receiver, self._heard)
        with ice_on_loopback():
            await pc.setLocalDescription(await pc.createOffer())
        query = {"session": self._former} if self._former else {}
        headers = {"Content-Type": "application/sdp"}
        async with http.post(
            f"{self._url}/whip", params=query, data=pc.localDescription.sdp, headers=headers
        ) as response:
            answer = await response.text()
            if response.status != 201:
                raise ConnectionError(f"the server refused the offer ({response.status}): {answer}")
            resource = urljoin(str(response.url), response.headers["Location"])
        self.session = resource.rpartition("/")[2]
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        self._tasks.append(asyncio.create_task(self._ping()))

    async def told(self, holds: Callable[[dict[str, Any]], bool], patience: float) -> dict[str, Any]:
        """The first message of which that holds. Raises TimeoutError."""
        async with asyncio.timeout(patience):
            while not (found := [message for message in self.messages if holds(message)]):  # noqa: ASYNC110 -- seldom
                await asyncio.sleep(0.05)
        return found[0]

    def send(self, **message: object) -> None:
        self._channel.send(json.dumps(message))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for track in self._tracks:
            track.stop()
        await self._pc.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._tasks.append(asyncio.create_task(self._watch(track)))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            now = time.monotonic()
            self._noted.see(np.asarray(frame.to_ndarray(format="gray"), np.uint8), now)

    def _heard(self, timestamp: int, data: bytes) -> None:
        """A packet is heard when it comes."""
        samples = self._decoder.decode(data)
        if len(samples):
            self._noted.hear(samples[:, 0], time.monotonic())

    async def _ping(self) -> None:
        while True:
            if self._channel.readyState == "open":
                self.send(type="ping", id="p")
            await asyncio.sleep(0.5)


def percentile(errors: Sequence[float], share: float) -> float:
    """Of the absolute errors, in milliseconds."""
    return round(1000 * float(np.percentile(np.abs(errors), share)), 1) if len(errors) else float("nan")
