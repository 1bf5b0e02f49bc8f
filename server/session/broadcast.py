"""Broadcast of one session: its newest picture, for all who watch it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from server.media.frames import Rgb


class BroadcastEnded(Exception):
    """No more pictures come: the session has ended, or the subscriber has closed its subscription."""


@dataclass(frozen=True, slots=True)
class BroadcastFrame:
    """One picture as it went out; nobody may write to it."""

    rgb: Rgb
    pts: int  # on the session's media clock, in 1/90000 s


class Broadcast:
    """Hands each picture to every subscriber. A slow one misses some and delays nobody.

    subscription = broadcast.subscribe()
    frame = await subscription.next()          # again and again, until BroadcastEnded
    subscription.close()
    """

    def __init__(
        self, on_subscribe: Callable[[], None] | None = None, missed: Callable[[], None] | None = None
    ) -> None:
        """`on_subscribe` is called for each new subscriber, `missed` for each picture that gave way to a
        newer one before a subscriber took it."""
        self.is_over = False
        self._on_subscribe = on_subscribe
        self._missed = missed
        self._newest: BroadcastFrame | None = None  # None while nobody watches: it would be old later
        self._subscriptions: list[Subscription] = []

    @property
    def is_watched(self) -> bool:
        """Whether there is a subscriber."""
        return bool(self._subscriptions)

    def subscribe(self) -> "Subscription":
        """A subscription that begins with the newest picture that others have been given."""
        subscription = Subscription(self._leave, self._missed)
        if self.is_over:
            subscription.close()
            return subscription
        self._subscriptions.append(subscription)
        if self._newest is not None:
            subscription.put(self._newest)
        if self._on_subscribe is not None:
            self._on_subscribe()
        return subscription

    def publish(self, rgb: Rgb, pts: int) -> None:
        """This picture goes out now; `rgb`, (H, W, 3) uint8, is not copied. `pts` in 1/90000 s."""
        if self._subscriptions:
            self._newest = BroadcastFrame(rgb, pts)
            for subscription in self._subscriptions:
                subscription.put(self._newest)

    def end(self) -> None:
        """There will be no more pictures. Safe to call twice."""
        self.is_over = True
        for subscription in list(self._subscriptions):
            subscription.close()

    def _leave(self, subscription: "Subscription") -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if not self._subscriptions:
            self._newest = None


class Subscription:
    """What one subscriber has not taken yet: the newest picture alone."""

    def __init__(self, leave: Callable[["Subscription"], None], missed: Callable[[], None] | None) -> None:
        self._leave = leave
        self._missed = missed
        self._frame: BroadcastFrame | None = None
        self._is_over = False
        self._changed = asyncio.Event()

    def put(self, frame: BroadcastFrame) -> None:
        """The newest picture."""
        if self._frame is not None and self._missed is not None:
            self._missed()
        self._frame = frame
        self._changed.set()

    def close(self) -> None:
        """Take no more pictures; whoever waits in `next` is told so. Safe to call twice."""
        self._leave(self)
        self._frame, self._is_over = None, True
        self._changed.set()

    async def next(self) -> BroadcastFrame:
        """The newest picture not taken yet, waiting for it. Raises BroadcastEnded."""
        while not self._is_over:
            if (frame := self._frame) is not None:
                self._frame = None
                return frame
            self._changed.clear()
            await self._changed.wait()
        raise BroadcastEnded("the session has ended")
