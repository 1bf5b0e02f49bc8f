"""Keys and values of one stream, in buffers that are allocated once.

The first `sink_size` latents of a stream own fixed slots; later latents share a ring behind them, so nothing
is ever shifted or cloned. Softmax does not care for the order of keys, so attention reads the filled prefix
as it lies.

    cache = RingKVCache(...)
    span = cache.begin(start=0, num_latents=3)       # once per forward, host arithmetic only
    span.write(layer, k_rotated, v)                  # in every layer
    k_all, v_all = span.read(layer)

Keys are stored rotated by their absolute latent index. In the relative variant (LongLive's "infinity") the
sink moves along: attention sees differences of positions only, so leaving the window's keys where they are
and turning the few sink keys on to just before the window equals re-indexing the whole window, for the price
of the sink. Every move starts from the keys as they were written, so that rounding does not add up.

Attention reads views of the filled prefix. A mask over the whole ring would make all passes of a stream one
shape, but kernels with a mask are slower for ever, and the window fills within the first few chunks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from streaming.config import WindowConfig
from streaming.kernels.fp8 import carried
from streaming.modules.rope import rotate, rotation


@dataclass(frozen=True, slots=True)
class CacheSpan:
    """Where the tokens of one forward go. If there are fewer slots than tokens, the first tokens take part as
    queries only: their slots belong to a protected sink."""

    cache: "RingKVCache"
    rotation: Tensor  # (L, D/2, 2) float32, for queries and new keys
    slots: Tensor  # (up to L,) int64: token slots written
    length: int  # filled tokens, the prefix that attention reads

    def write(self, layer: int, k_rotated: Tensor, v: Tensor) -> None:
        """Store the new keys and values of `layer`, each (B, L, N, D)."""
        write_slots(*self.buffers(layer), self.slots, k_rotated, v)

    def buffers(self, layer: int) -> tuple[Tensor, Tensor]:
        """All slots of a layer, filled or not: where `write_slots` writes."""
        return self.cache.k[layer], self.cache.v[layer]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """All that queries may see, each (B, length, N, D), where it lies."""
        k, v = self.buffers(layer)
        return k[:, : self.length], v[:, : self.length]


def write_slots(ring_k: Tensor, ring_v: Tensor, slots: Tensor, k: Tensor, v: Tensor) -> None:
    """Put the newest tokens of k and v (B, L, N, D), as many as there are `slots`, into a layer's ring."""
    skip = k.shape[1] - slots.shape[0]
    for ring, new in ((ring_k, k), (ring_v, v)):
        carried(ring).index_copy_(1, slots, carried(new[:, skip:]))


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
        self.sink_k: Tensor | None = None  # the sink's keys as they were written
        if window.relative:
            self.sink_k = self.k[:, :, : window.sink_size * self.tokens_per_latent].clone()
        self._sink_base = 0  # position that slot 0 of the sink currently stands for
        self._sink_written: int | None = None  # and that it stood for in `sink_k`; None: not copied there yet
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

    def reset(self, grid: tuple[int, int] | None = None) -> None:
        """Forget the stream; buffers stay allocated (what they hold is never read before it is rewritten).
        `grid`: rows and columns of tokens of the next stream's latents, None: as before. Raises ValueError
        for more or fewer tokens than before."""
        if grid is not None and grid != self.grid:
            if grid[0] * grid[1] != self.tokens_per_latent:
                raise ValueError(f"grid: expected {self.tokens_per_latent} tokens a latent, got {grid}")
            self.grid, self._span, self._span_key = grid, None, ()
        self.end = 0
        self._sink_base, self._sink_written = 0, None

    def skip_to(self, start: int) -> None:
        """Go on with latent `start` after the sink, as if those in between had come and gone. The next
        `begin` must be for as many as the ring holds: until they are written, it holds nothing of this
        stream. Raises ValueError before the sink is there, or for a latent that the window would hold."""
        sink = self.window.sink_size
        if self.end != sink or start < sink:
            raise ValueError(f"latent {start} cannot follow {self.end}: expected the sink's {sink} alone")
        self.end = start

    def begin(self, start: int, num_latents: int, *, rewrite_sink: bool = False) -> CacheSpan:
        """Make room for latents [start, start + num_latents), new or seen before.

        A repeated range overwrites its own slots, except that the sink of a stream which has begun is
        protected unless `rewrite_sink` (upstream's recache without `global_sink`). Raises ValueError for a
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
        in_sink = max(0, min(end - base, self.window.sink_size) - (start - base))
        protected = in_sink if repeated and not rewrite_sink else 0
        if in_sink > protected:
            self._sink_written = None
        key = (start, num_latents, self.end, protected)
        if self._span is None or key != self._span_key:  # else one of the other passes of the same chunk
            self._span_key = key
            self._span = CacheSpan(
                cache=self,
                rotation=rotation(range(start, end), *self.grid, self.k.shape[-1], self.k.device),
                slots=self._token_slots(start + protected, end),
                length=self.filled * self.tokens_per_latent,
            )
        return self._span

    def _move_sink(self, base: int) -> None:
        if self.sink_k is None or base == self._sink_base:
            return
        tokens = self.sink_k.shape[2]
        if self._sink_written is None:
            self.sink_k.copy_(self.k[:, :, :tokens])
            self._sink_written = self._sink_base
        distance = base - self._sink_written
        by = rotation(range(distance, distance + 1), 1, 1, self.k.shape[-1], self.k.device)
        for ring, written in zip(self.k, self.sink_k, strict=True):  # one layer's room is enough
            ring[:, :tokens] = rotate(written, by)
        self._sink_base = base

    def _token_slots(self, start: int, end: int) -> Tensor:
        """Token slots of latents [start, end) of the window, by their distance from its begin: the sink
        first, then the ring. Computed on the device: the host copies nothing there and waits for nothing."""
        sink, size, device = self.window.sink_size, self.tokens_per_latent, self.k.device
        latent = torch.arange(start, end, device=device)
        distance = latent - (self.end - self.filled)
        place = torch.where(distance < sink, distance, sink + (latent - sink) % self.window.ring_size)
        return (place[:, None] * size + torch.arange(size, device=device)).flatten()
