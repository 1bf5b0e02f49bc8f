"""Playout of one session: when each picture goes out, and what is seen while there is none."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from av import VideoFrame

from server.media.frames import Rgb, Size, with_note
from server.media.pacing import MediaClock, Pacer
from server.metrics import Metrics
from server.session.broadcast import Broadcast
from server.session.camera import CameraFeed
from server.session.parameters import Parameters
from server.session.picture import Picture
from server.session.sound.playout import SoundPlayout
from streaming.api import DEFAULT_FIT, CameraFit

PROVISIONAL_SIZE = (256, 144)  # until the model, and so its size, is known
PASSTHROUGH_SPACING_S = 1 / 15
HOLD_SPACING_S = 0.5  # of a picture that stays: who begins to watch, or has lost it, sees it soon
NOTHING_YET = "waiting for the first picture"


class Playout:
    """Publishes pictures when they are due: those of the pacer, else the camera with a note, else the last.

        playout = Playout(feed, now, on_shown)
        playout.pacer.push(pictures, span, now)      # wakes it by itself
        playout.note = words                         # over the camera, in place of pictures; None: pictures
        playout.wake()                               # whenever that has changed
        await playout.run()                          # until cancelled

    A generated picture goes out, and is told to `on_shown`, exactly once, with subscribers or without.
    """

    def __init__(
        self,
        feed: CameraFeed,
        now: Callable[[], float],
        on_shown: Callable[[Picture, int, float], None],
        metrics: Metrics | None = None,
    ) -> None:
        """`on_shown` is given each generated picture as it goes out, its pts and the time; `metrics` counts
        pictures that a slow subscriber did not take, and sound that came in vain."""
        self.note: str | None = None
        # Of what is made of the camera: as the generated pictures are, once there was one.
        self.size: Size = PROVISIONAL_SIZE
        self.fit: CameraFit = DEFAULT_FIT
        self.on_shown = on_shown
        self.clock = MediaClock()
        self.pacer: Pacer[Picture] = Pacer(self.clock, self.wake)
        self.broadcast = Broadcast(self.wake, metrics and metrics.dropped.labels("output").inc)
        self.sound = SoundPlayout(
            now, metrics and metrics.unheard_sound.inc
        )  # of the publisher, as late as the pictures
        self.picture: Picture | None = None  # the generated picture on show
        self._feed = feed
        self._now = now
        self._changed = asyncio.Event()
        self._passed: tuple[VideoFrame | None, Size, str, CameraFit] | None = None
        self._passed_rgb: Rgb | None = None  # drawn of that

    def begin_with(self, parameters: Parameters) -> None:
        """What the session has in effect before its first picture here, of a model that is known."""
        self.size, self.fit = parameters.size or PROVISIONAL_SIZE, parameters.fit

    def wake(self) -> None:
        """Look again at what is due: something has changed."""
        self._changed.set()

    def clear(self) -> None:
        """Let go of all pictures; none will come."""
        self.pacer.clear()
        self.broadcast.end()
        self.sound.close()
        self.picture = self._passed = self._passed_rgb = None

    async def run(self) -> None:
        """Publish what is due, when it is due, until cancelled."""
        while True:
            self._changed.clear()
            due = self.due()
            wait = None if due is None else due - self._now()
            if wait is not None and wait <= 0:
                await self.publish()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def due(self) -> float | None:
        """When something is to be published (in the past: now); None: not before something changes."""
        if self.note is None and (due := self.pacer.due()) is not None:
            return due
        if not self.broadcast.is_watched:
            return None
        due = self.clock.due(PASSTHROUGH_SPACING_S if self._words else HOLD_SPACING_S)
        return float("-inf") if due is None else due

    async def publish(self) -> None:
        """Send out the next picture. Call it at or after `due()`."""
        if self.note is None and len(self.pacer):
            now = self._now()
            self.picture, pts = self.pacer.pop(now)
            self.size = self.picture.size
            self.fit = self.picture.parameters.fit
            self.broadcast.publish(self.picture.rgb, pts)
            self.sound.shown(self.picture.captured, now)
            self.on_shown(self.picture, pts, now)
        elif (words := self._words) is not None:
            rgb = await self._passthrough(words)
            self.broadcast.publish(rgb, self.clock.tick(PASSTHROUGH_SPACING_S, self._now()))
        elif self.picture is not None:
            self.broadcast.publish(self.picture.rgb, self.clock.tick(HOLD_SPACING_S, self._now()))

    @property
    def _words(self) -> str | None:
        """Words over the camera; None: the picture on show stays instead."""
        return self.note or (NOTHING_YET if self.picture is None else None)

    async def _passthrough(self, note: str) -> Rgb:
        """The camera, (H, W, 3) uint8, with a note; drawn in a thread, and only if there is another one."""
        passed = (self._feed.newest, self.size, note, self.fit)
        if self._passed_rgb is None or passed != self._passed:
            self._passed_rgb = await asyncio.to_thread(with_note, *passed)
            self._passed = passed
        return self._passed_rgb
