"""For tests: a session whose camera and screen are the test's own."""

import asyncio
import json
from fractions import Fraction

import numpy as np
from av import VideoFrame

from server.session.picture import Picture
from server.session.session import LiveSession
from server.webrtc.tracks import OutputTrack
from tests.server.running import until

CAMERA_FPS = 120


class RunningSession:
    """A session whose camera runs while it is asked to; `is_watched`: what it broadcasts is in `shown`."""

    def __init__(self, session: LiveSession, is_watched: bool = True) -> None:
        self.session = session
        self.messages: list[dict] = []
        self.telemetry: list[dict] = []
        self.shown: list[VideoFrame] = []
        self.camera_runs = True
        session.join(lambda text: self.messages.append(json.loads(text)))
        session.channels.attach_telemetry(lambda text: self.telemetry.append(json.loads(text)))
        self._track = OutputTrack(session.playout.broadcast)
        self._tasks = [asyncio.create_task(self._film())]
        if is_watched:
            self._tasks.append(asyncio.create_task(self._watch()))

    async def _film(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            pts = round((loop.time() - began) * 90_000)  # true however late the loop is: cameras keep time
            if self.camera_runs:
                frame = VideoFrame.from_ndarray(np.full((48, 64, 3), pts // 750 % 256, np.uint8))
                frame.pts, frame.time_base = pts, Fraction(1, 90_000)
                self.session.camera_frame(frame)
            await asyncio.sleep(1 / CAMERA_FPS)

    async def _watch(self) -> None:
        while True:
            self.shown.append(await self._track.recv())

    def hold(self) -> None:
        """Nothing goes out any more; what is made queues up."""
        self.session.playout.due = lambda: None

    def release(self) -> None:
        """Pictures go out again when they are due."""
        del self.session.playout.due
        self.session.playout.wake()

    def pictures(self) -> list[Picture]:
        """All that are shown from now on, once each."""
        pictures, shown = [], self.session.playout.on_shown

        def noted(picture: Picture, pts: int, now: float) -> None:
            pictures.append(picture)
            shown(picture, pts, now)

        self.session.playout.on_shown = noted
        return pictures

    def of(self, type: str, **fields: object) -> list[dict]:
        return [m for m in self.messages if m["type"] == type and fields.items() <= m.items()]

    async def until(self, type: str, **fields: object) -> dict:
        await until(lambda: bool(self.of(type, **fields)), f"{type} {fields} in {self.messages}")
        return self.of(type, **fields)[0]

    async def live(self) -> "RunningSession":
        await self.until("state", state="live")
        return self

    def ask(self, type: str, id: str, **fields: object) -> None:
        self.session.receive(json.dumps({"type": type, "id": id, **fields}))

    async def applied(self, type: str, id: str, **fields: object) -> dict:
        """Give a command and wait until it has taken effect."""
        self.ask(type, id, **fields)
        return await self.until("applied", id=id)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.session.close()


def rgb(frame: VideoFrame) -> tuple[int, int, int]:
    """What the fake engine painted: count of frames, length of the prompt, the camera's grey."""
    red, green, blue = frame.to_ndarray(format="rgb24")[0, 0]
    return int(red), int(green), int(blue)
