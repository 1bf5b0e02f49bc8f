"""Caches of keys and values, acquired by one stream after the other: each is gigabytes, and has graphs."""

from collections.abc import Callable

from streaming.modules.kv_cache import RingKVCache


class KVCachePool:
    """As many caches as there ever were streams at the same time, or were made ahead."""

    def __init__(self, new_cache: Callable[[], RingKVCache]) -> None:
        self._new_cache = new_cache
        self._free: list[RingKVCache] = []
        self._made = 0

    def __len__(self) -> int:
        return self._made

    @property
    def is_idle(self) -> bool:
        """Whether no stream has a cache."""
        return len(self._free) == self._made

    def add(self) -> RingKVCache:
        """One more cache for streams to come."""
        cache = self._new_cache()
        self._made += 1
        self._free.append(cache)
        return cache

    def keep_one(self) -> None:
        """Let go of caches that no stream has, but for one."""
        self._made -= len(self._free[1:])
        del self._free[1:]

    def acquire(self) -> RingKVCache:
        """An empty cache, the caller's alone until it is released; a new one if all are taken."""
        if not self._free:
            self.add()
        cache = self._free.pop()
        cache.reset()
        return cache

    def release(self, cache: RingKVCache) -> None:
        """Give back what was acquired; nobody may use it any more."""
        self._free.append(cache)
