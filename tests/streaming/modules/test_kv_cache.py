"""Laws of the ring: it remembers what a list would, costs no growth, and never runs out of positions."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import ConfigError, WindowConfig
from streaming.kernels.attention import attend
from streaming.modules.kv_cache import RingKVCache
from streaming.modules.rope import rotate, rotation
from tests.streaming.stream_order import stream_order

GRID, HEADS, HEAD_DIM = (2, 3), 2, 12
S = GRID[0] * GRID[1]


def new_cache(window: WindowConfig, layers: int = 1) -> RingKVCache:
    return RingKVCache(
        window=window,
        num_layers=layers,
        num_heads=HEADS,
        head_dim=HEAD_DIM,
        grid=GRID,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def keys_of(start: int, num_latents: int, salt: int = 0) -> torch.Tensor:
    """Un-rotated keys that tell which latent they belong to."""
    generator = torch.Generator()
    parts = [torch.randn(1, S, HEADS, HEAD_DIM, generator=generator.manual_seed(1000 * salt + latent))
             for latent in range(start, start + num_latents)]  # fmt: skip
    return torch.cat(parts, dim=1)


def store(cache: RingKVCache, start: int, num_latents: int, salt: int = 0, **options: bool):
    span = cache.begin(start, num_latents, **options)
    k = keys_of(start, num_latents, salt)
    span.write(0, rotate(k, span.rotation), k)
    return span, span.read(0)


windows = st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 4)).map(
    # (chunk, sink, further ring latents): the ring always takes a chunk
    lambda t: (t[0], WindowConfig(local_attn_size=t[1] + t[0] + t[2], sink_size=t[1], relative=False))
)


@given(windows, st.integers(1, 14))
@settings(max_examples=80)
def test_attention_sees_the_sink_and_the_newest_latents(chunk_and_window, num_chunks: int) -> None:
    chunk, window = chunk_and_window
    cache = new_cache(window)
    for index in range(num_chunks):
        span, (_, v) = store(cache, index * chunk, chunk)
    end = num_chunks * chunk
    recent = range(max(window.sink_size, end - window.ring_size), end)
    visible = [*range(min(end, window.sink_size)), *recent]
    want = torch.cat([keys_of(latent, 1) for latent in visible], dim=1)
    assert span.length == v.shape[1] == len(visible) * S
    assert torch.equal(stream_order(cache, 0)[1], want)
    assert torch.equal(v.sort(dim=1).values, want.sort(dim=1).values)  # same keys, in whatever order


def test_a_repeated_forward_overwrites_its_own_slots() -> None:
    cache = new_cache(WindowConfig(local_attn_size=9, sink_size=3, relative=False))
    for index in range(5):
        store(cache, 3 * index, 3, salt=1)
        store(cache, 3 * index, 3, salt=2)
    want = torch.cat([keys_of(0, 3, salt=2), keys_of(9, 6, salt=2)], dim=1)
    assert cache.end == 15 and torch.equal(stream_order(cache, 0)[1], want)


@pytest.mark.parametrize("rewrite_sink", [False, True])
def test_a_recache_spares_the_sink_unless_told(rewrite_sink: bool) -> None:
    cache = new_cache(WindowConfig(local_attn_size=9, sink_size=3, relative=False))
    for index in range(5):
        store(cache, 3 * index, 3)
    store(cache, 6, 9, salt=7, rewrite_sink=rewrite_sink)
    sink = keys_of(6, 3, salt=7) if rewrite_sink else keys_of(0, 3)
    want = torch.cat([sink, keys_of(9, 6, salt=7)], dim=1)
    assert torch.equal(stream_order(cache, 0)[1], want)


def test_moving_only_the_sink_equals_re_indexing_the_whole_window() -> None:
    """The relative variant: attention equals that of un-rotated keys rotated by their place in the window."""
    window = WindowConfig(local_attn_size=9, sink_size=3, relative=True)
    cache = new_cache(window)
    for index in range(7):
        start = 3 * index
        span, (k, v) = store(cache, start, 3)
        q = keys_of(start, 3, salt=5)
        filled = cache.filled
        visible = [*range(3), *range(max(3, cache.end - 6), cache.end)]
        raw = torch.cat([keys_of(latent, 1) for latent in visible], dim=1)
        keys = rotate(raw, rotation(range(filled), *GRID, HEAD_DIM, q.device))
        queries = rotate(q, rotation(range(filled - 3, filled), *GRID, HEAD_DIM, q.device))
        want = attend(queries, keys, raw)
        torch.testing.assert_close(attend(rotate(q, span.rotation), k, v), want, atol=2e-5, rtol=1e-4)


@given(windows, st.booleans(), st.integers(0, 14))
@settings(max_examples=60)
def test_what_is_skipped_is_as_if_it_had_come_and_gone(chunk_and_window, relative: bool, more: int) -> None:
    _, window = chunk_and_window
    window = replace(window, relative=relative)
    sink, ring = window.sink_size, window.ring_size
    cache, skipping = new_cache(window), new_cache(window)
    end = sink + ring + more
    for each in (cache, skipping):
        if sink:
            store(each, 0, sink)
    for latent in range(sink, end):
        _, (keys, values) = store(cache, latent, 1)
    skipping.skip_to(end - ring)
    span, (those, others) = store(skipping, end - ring, ring)
    assert skipping.end == cache.end and span.length == len(keys[0])
    assert torch.equal(values, others)
    torch.testing.assert_close(keys, those)
    (_, (keys, values)), (_, (those, others)) = (store(each, end, 1) for each in (cache, skipping))
    assert torch.equal(values, others)
    torch.testing.assert_close(keys, those)


def test_only_what_follows_the_sink_can_be_skipped() -> None:
    cache = new_cache(WindowConfig(local_attn_size=6, sink_size=3))
    with pytest.raises(ValueError, match="latent 9 cannot follow 0: expected the sink's 3 alone"):
        cache.skip_to(9)
    store(cache, 0, 3)
    with pytest.raises(ValueError, match="latent 2 cannot follow 3"):
        cache.skip_to(2)
    store(cache, 3, 3)
    with pytest.raises(ValueError, match="latent 9 cannot follow 6"):
        cache.skip_to(9)


def test_days_of_streaming_cost_no_memory_and_no_precision() -> None:
    cache = new_cache(WindowConfig(local_attn_size=9, sink_size=3, relative=True))
    for index in range(4):
        store(cache, 3 * index, 3)
    size = cache.num_bytes
    span, (k, v) = store(cache, cache.end, 3)
    q = rotate(keys_of(12, 3, salt=5), span.rotation)
    early = attend(q, k, v)

    late = new_cache(WindowConfig(local_attn_size=9, sink_size=3, relative=True))
    for index in range(3):
        store(late, 3 * index, 3)
    late.end = days = 3 * 4_000_000  # a month at 4.5 latents a second
    for index, source in enumerate((6, 9, 12)):
        span = late.begin(days + 3 * index, 3)
        raw = keys_of(source, 3)
        span.write(0, rotate(raw, span.rotation), raw)
    shifted = span.read(0)
    q = rotate(keys_of(12, 3, salt=5), span.rotation)
    torch.testing.assert_close(attend(q, *shifted), early, atol=1e-5, rtol=1e-4)
    assert late.num_bytes == size


def test_reset_equals_fresh() -> None:
    window = WindowConfig(local_attn_size=9, sink_size=3, relative=True)
    used, fresh = new_cache(window), new_cache(window)
    for index in range(5):
        store(used, 3 * index, 3, salt=1)
    used.reset()
    for index in range(4):
        _, (k_used, v_used) = store(used, 3 * index, 3)
        _, (k_fresh, v_fresh) = store(fresh, 3 * index, 3)
        assert torch.equal(k_used, k_fresh) and torch.equal(v_used, v_fresh)


def test_a_gap_or_too_many_latents_are_refused() -> None:
    cache = new_cache(WindowConfig(local_attn_size=9, sink_size=3))
    with pytest.raises(ValueError, match=r"\[3, 6\).*ends at 0"):
        cache.begin(3, 3)
    store(cache, 0, 3)
    with pytest.raises(ValueError, match="at most 6"):
        cache.begin(3, 7)
    for start in range(3, 15, 3):
        store(cache, start, 3)
    with pytest.raises(ValueError, match="left the window, which begins at 6"):
        cache.begin(3, 3)
    with pytest.raises(ConfigError, match="sink_size"):
        WindowConfig(local_attn_size=3, sink_size=3)


class RollingCache:
    """Upstream's bookkeeping, one entry per latent: shift on eviction, protect the sink on a repeat."""

    def __init__(self, window: WindowConfig) -> None:
        self.size, self.sink = window.local_attn_size, window.sink_size
        self.slots: list[object] = [None] * self.size
        self.global_end = self.local_end = 0

    def forward(self, start: int, new: list[object], *, rewrite_sink: bool = False) -> list[object]:
        """Store `new`, return what its queries may see."""
        end, count = start + len(new), len(new)
        repeated = end <= self.global_end and start > 0
        local_end = self.local_end + max(0, end - self.global_end)
        if end > self.global_end and count + self.local_end > self.size:
            evicted = count + self.local_end - self.size
            kept = self.slots[self.sink + evicted : self.local_end]
            self.slots[self.sink : self.sink + len(kept)] = kept
            local_end = self.size
        for place, entry in enumerate(new, start=local_end - count):
            if not repeated or rewrite_sink or place >= self.sink:
                self.slots[place] = entry
        if not repeated:
            self.global_end, self.local_end = end, local_end
        return self.slots[:local_end]


@given(windows, st.integers(1, 9), st.booleans())
@settings(max_examples=80)
def test_the_ring_holds_what_upstreams_rolling_cache_holds(
    chunk_and_window, num_chunks: int, rewrite_sink: bool
) -> None:
    """Three passes a chunk and a recache at the end, for any sink, window and chunk length."""
    chunk, window = chunk_and_window
    ring, rolling = new_cache(window), RollingCache(window)

    def both(start: int, count: int, salt: int, **options: bool) -> None:
        store(ring, start, count, salt, **options)
        seen = rolling.forward(start, [(latent, salt) for latent in range(start, start + count)], **options)
        want = torch.cat([keys_of(latent, 1, salt) for latent, salt in seen], dim=1)
        assert torch.equal(stream_order(ring, 0)[1], want)

    for index in range(num_chunks):
        for salt in range(3):
            both(index * chunk, chunk, salt)
    filled = ring.filled
    both(ring.end - filled, filled, 3, rewrite_sink=rewrite_sink)
    both(ring.end, chunk, 4)


def test_a_ring_takes_another_grid_of_as_many_tokens() -> None:
    """And then gives what a fresh one of that grid gives: the same place in time is another rotation."""
    window = WindowConfig(local_attn_size=6, sink_size=3)
    turned = ring_of((2, 3), window)
    before = turned.begin(0, 3).rotation
    with pytest.raises(ValueError, match=r"grid: expected 6 tokens a latent, got \(2, 2\)"):
        turned.reset((2, 2))
    turned.reset((3, 2))
    wanted = ring_of((3, 2), window).begin(0, 3).rotation
    assert torch.equal(turned.begin(0, 3).rotation, wanted) and not torch.equal(before, wanted)
    turned.reset()
    assert turned.grid == (3, 2), "a reset alone leaves it"


def ring_of(grid: tuple[int, int], window: WindowConfig) -> RingKVCache:
    shape = {"num_layers": 1, "num_heads": 1, "head_dim": 6, "device": torch.device("cpu")}
    return RingKVCache(window=window, grid=grid, dtype=torch.float32, **shape)
