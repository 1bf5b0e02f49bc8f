"""Laws of lent rings: one stream at a time has a ring, and starts on it as on a fresh one."""

import gc

import torch

from streaming.config import WindowConfig
from streaming.kv_cache_pool import KVCachePool
from streaming.modules.kv_cache import RingKVCache


def new_ring() -> RingKVCache:
    return RingKVCache(
        window=WindowConfig(local_attn_size=6, sink_size=3),
        num_layers=1,
        num_heads=1,
        head_dim=6,
        grid=(1, 1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_streams_at_the_same_time_have_rings_of_their_own() -> None:
    pool = KVCachePool(new_ring)
    a, b = pool.open_session(seed=0), pool.open_session(seed=1)
    assert a.cache is not b.cache and (a.seed, b.seed) == (0, 1)


def test_a_ring_made_ahead_is_lent_before_another_is_made() -> None:
    pool = KVCachePool(new_ring)
    ahead = pool.add()
    assert (len(pool), pool.is_idle) == (1, True)
    session = pool.open_session(seed=0)
    assert session.cache is ahead and (len(pool), pool.is_idle) == (1, False)
    other = pool.open_session(seed=1)
    del session
    gc.collect()
    assert (len(pool), pool.is_idle) == (2, False)
    del other
    gc.collect()
    assert (len(pool), pool.is_idle) == (2, True)


def test_a_dropped_stream_gives_its_ring_to_the_next_which_begins_anew() -> None:
    pool = KVCachePool(new_ring)
    session = pool.open_session(seed=0)
    ring = session.cache
    ring.begin(0, 3)
    del session
    gc.collect()
    later = pool.open_session(seed=1)
    assert later.cache is ring and ring.end == 0
    assert pool.open_session(seed=2).cache is not ring


def test_of_rings_that_no_stream_has_one_may_be_kept() -> None:
    pool = RingPool(new_ring)
    session = pool.open_session(seed=0)
    kept = pool.add()
    pool.add(), pool.add()
    pool.keep_one()
    assert (len(pool), pool.is_idle) == (2, False)
    assert pool.open_session(seed=1).cache is kept
    del session
    gc.collect()
    assert (len(pool), pool.is_idle) == (2, True)
