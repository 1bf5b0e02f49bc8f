"""Rings of keys and values, lent to one stream after the other: each is gigabytes, and has recordings."""

import weakref
from collections.abc import Callable

from streaming.modules.kv_cache import RingKVCache
from streaming.session import StreamSession


class KVCachePool:
    """As many rings as there ever were streams at the same time, or were made ahead. A stream that is dropped
    gives its own back."""

    def __init__(self, new_ring: Callable[[], RingKVCache]) -> None:
        self._new_ring = new_ring
        self._free: list[RingKVCache] = []
        self._made = 0

    def __len__(self) -> int:
        return self._made

    @property
    def is_idle(self) -> bool:
        """Whether no stream has a ring."""
        return len(self._free) == self._made

    def add(self) -> RingKVCache:
        """One more ring for streams to come."""
        ring = self._new_ring()
        self._made += 1
        self._free.append(ring)
        return ring

    def keep_one(self) -> None:
        """Let go of rings that no stream has, but for one."""
        self._made -= len(self._free[1:])
        del self._free[1:]

    def open_session(self, seed: int) -> StreamSession:
        """The memory of a new stream."""
        if not self._free:
            self.add()
        ring = self._free.pop()
        ring.reset()
        session = StreamSession(ring, seed)
        weakref.finalize(session, self._free.append, ring).atexit = False
        return session
