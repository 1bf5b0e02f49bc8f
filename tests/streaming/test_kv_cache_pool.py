"""Laws of the pool: one stream at a time has a cache, and starts on it as on a fresh one."""

import torch

from streaming.config import WindowConfig
from streaming.kv_cache_pool import KVCachePool
from streaming.modules.kv_cache import RingKVCache


def new_cache() -> RingKVCache:
    return RingKVCache(
        window=WindowConfig(local_attn_size=6, sink_size=3),
        num_layers=1,
        num_heads=1,
        head_dim=6,
        grid=(1, 1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_who_acquires_at_the_same_time_has_a_cache_alone() -> None:
    pool = KVCachePool(new_cache)
    assert pool.acquire() is not pool.acquire()


def test_a_cache_made_ahead_is_acquired_before_another_is_made() -> None:
    pool = KVCachePool(new_cache)
    ahead = pool.add()
    assert (len(pool), pool.is_idle) == (1, True)
    assert pool.acquire() is ahead
    assert (len(pool), pool.is_idle) == (1, False)
    other = pool.acquire()
    pool.release(ahead)
    assert (len(pool), pool.is_idle) == (2, False)
    pool.release(other)
    assert (len(pool), pool.is_idle) == (2, True)


def test_a_released_cache_goes_to_the_next_and_is_empty() -> None:
    pool = KVCachePool(new_cache)
    cache = pool.acquire()
    cache.begin(0, 3)
    pool.release(cache)
    assert pool.acquire() is cache and cache.end == 0
    assert pool.acquire() is not cache


def test_of_caches_that_no_stream_has_one_may_be_kept() -> None:
    pool = KVCachePool(new_cache)
    taken, kept = pool.acquire(), pool.add()
    pool.add(), pool.add()
    pool.keep_one()
    assert (len(pool), pool.is_idle) == (2, False)
    assert pool.acquire() is kept
    pool.release(kept)
    pool.release(taken)
    assert (len(pool), pool.is_idle) == (2, True)
