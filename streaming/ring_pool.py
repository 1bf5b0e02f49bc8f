"""Rings of keys and values, lent to one stream after the other: each is gigabytes, and has recordings."""

import weakref
from collections.abc import Callable

from streaming.modules.kv_cache import RingKVCache
from streaming.session import StreamSession


class RingPool:
    """As many rings as there ever were streams at the same time. A stream that is dropped gives its own
    back."""

    def __init__(self, new_ring: Callable[[], RingKVCache]) -> None:
        self._new_ring = new_ring
        self._free: list[RingKVCache] = []

    def open_session(self, seed: int) -> StreamSession:
        """The memory of a new stream."""
        ring = self._free.pop() if self._free else self._new_ring()
        ring.reset()
        session = StreamSession(ring, seed)
        weakref.finalize(session, self._free.append, ring).atexit = False
        return session
