"""Keys and values of one stream, in buffers that are allocated once.

The first `sink_size` latents of a stream own fixed slots; later latents share a ring behind them, so nothing
is ever shifted or cloned. Softmax does not care for the order of keys, so attention reads the filled prefix
as it lies.

    cache = RingKVCache(...)
    span = cache.begin(start=0, num_latents=3)       # once per forward, host arithmetic only
    k_all, v_all = span.update(layer, k, k_rotated, v)    # in every layer

Keys are stored rotated by their absolute latent index. In the relative variant (LongLive's "infinity") the
sink moves along: attention sees differences of positions only, so leaving the window's keys where they are
and rotating the few un-rotated sink keys to just before the window equals re-indexing the whole window, for
the price of the sink.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming.config import WindowConfig
from streaming.modules.rope import rotate, rotation


@dataclass(frozen=True, slots=True)
class CacheSpan:
    """Where the tokens of one forward go. Tokens before `skip` take part as queries only."""

    cache: "RingKVCache"
    rotation: Tensor  # (L, D/2) complex64, for queries and new keys
    skip: int  # tokens not stored: their slots belong to a protected sink
    slots: Tensor  # (L - skip,) int64: token slots written
    sink_tokens: int  # how many of the written tokens, counted from the first, lie in the sink
    length: int  # filled tokens, the prefix that attention reads

    def update(self, layer: int, k: Tensor, k_rotated: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of `layer`, each (B, L, N, D); return all that queries may see."""
        cache = self.cache
        cache.k[layer].index_copy_(1, self.slots, k_rotated[:, self.skip :])
        cache.v[layer].index_copy_(1, self.slots, v[:, self.skip :])
        if cache.sink_k is not None and self.sink_tokens:
            sink = slice(self.skip, self.skip + self.sink_tokens)
            cache.sink_k[layer].index_copy_(1, self.slots[: self.sink_tokens], k[:, sink])
        return cache.k[layer][:, : self.length], cache.v[layer][:, : self.length]


class RingKVCache:
    """Self-attention keys and values of one stream, all layers.

    `k`, `v`: (layers, B, window * S, N, D). `end`: latents seen since the stream began; the only counter.
    """

    def __init__(
        self,
        *,
        window: WindowConfig,
        num_layers: int,
        num_heads: int,
        head_dim: int,
        grid: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype,
        batch: int = 1,
    ) -> None:
        self.window = window
        self.grid = grid
        self.tokens_per_latent = grid[0] * grid[1]
        self.end = 0
        shape = (num_layers, batch, window.local_attn_size * self.tokens_per_latent, num_heads, head_dim)
        self.k = torch.zeros(shape, device=device, dtype=dtype)
        self.v = torch.zeros(shape, device=device, dtype=dtype)
        self.sink_k: Tensor | None = None
        if window.relative:
            self.sink_k = self.k[:, :, : window.sink_size * self.tokens_per_latent].clone()
        self._sink_base = 0  # position that slot 0 of the rotated sink currently stands for
        self._span_key: tuple[int, ...] = ()
        self._span: CacheSpan | None = None

    @property
    def filled(self) -> int:
        """Latents that attention can see."""
        return min(self.end, self.window.local_attn_size)

    @property
    def num_bytes(self) -> int:
        buffers = [self.k, self.v] + ([] if self.sink_k is None else [self.sink_k])
        return sum(b.numel() * b.element_size() for b in buffers)

    def reset(self) -> None:
        """Forget the stream; buffers stay allocated (what they hold is never read before it is rewritten)."""
        self.end = 0
        self._sink_base = 0

    def begin(self, start: int, num_latents: int, *, rewrite_sink: bool = False) -> CacheSpan:
        """Make room for latents [start, start + num_latents), new or seen before.

        A repeated range overwrites its own slots, except that the sink of a stream which has begun is
        protected unless `rewrite_sink` (a recache without LongLive's `global_sink`). Raises ValueError for a
        range that the window cannot hold.
        """
        end = start + num_latents
        repeated = end <= self.end and start > 0
        room = self.window.local_attn_size if start == 0 or repeated else self.window.ring_size
        if not 0 <= start <= self.end or num_latents > room:
            raise ValueError(
                f"latents [{start}, {end}) do not fit: the stream ends at {self.end} and "
                f"at most {room} latents go at once into a window of {self.window.local_attn_size}"
            )
        self.end = max(self.end, end)
        base = self.end - self.filled
        if start < base:
            raise ValueError(f"latents [{start}, {end}) have left the window, which begins at {base}")
        self._move_sink(base)
        places = [self._place(latent) for latent in range(start, end)]
        in_sink = sum(place < self.window.sink_size for place in places)
        protected = in_sink if repeated and not rewrite_sink else 0
        key = (start, num_latents, self.end, protected)
        if self._span is None or key != self._span_key:  # else one of the other passes of the same chunk
            self._span_key = key
            self._span = CacheSpan(
                cache=self,
                rotation=rotation(range(start, end), *self.grid, self.k.shape[-1], self.k.device),
                skip=protected * self.tokens_per_latent,
                slots=self._token_slots(places[protected:]),
                sink_tokens=(in_sink - protected) * self.tokens_per_latent,
                length=self.filled * self.tokens_per_latent,
            )
        return self._span

    def logical(self, layer: int) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values of `layer` in stream order: sink, then oldest to newest."""
        slots = self._token_slots([self._place(latent) for latent in range(self.end - self.filled, self.end)])
        return self.k[layer][:, slots], self.v[layer][:, slots]

    def _place(self, latent: int) -> int:
        """Slot of a latent of the window, by its distance from the window's begin: the sink first, then the
        ring."""
        distance, sink = latent - (self.end - self.filled), self.window.sink_size
        return distance if distance < sink else sink + (latent - sink) % self.window.ring_size

    def _move_sink(self, base: int) -> None:
        if self.sink_k is None or base == self._sink_base:
            return
        turn = rotation(
            range(base, base + self.window.sink_size), *self.grid, self.k.shape[-1], self.k.device
        )
        self.k[:, :, : self.sink_k.shape[2]] = rotate(self.sink_k, turn)
        self._sink_base = base

    def _token_slots(self, places: Sequence[int]) -> Tensor:
        size = self.tokens_per_latent
        first = torch.tensor(places, device=self.k.device, dtype=torch.int64) * size
        return (first[:, None] + torch.arange(size, device=self.k.device)).flatten()
