"""Passes over a chunk, on buffers that are allocated once: nothing that a pass reads ever moves.

So a pass can be captured and replayed: by any chunk, under any prompt, at any strength. What differs between
streams is the ring of keys and values alone, gigabytes that nobody wants to copy back and forth (3.5 GB in
and out are 3 ms at 4.3 TB/s); therefore a graph belongs to a ring, which `KVCachePool` gives to one stream
after the other. Where in the ring a chunk is written is an input too, so a ring needs two graphs: with
guidance and without (the clean pass is a pass without).

Only a full window is captured: before, every chunk has a window of another length, and it fills within
seconds. Without capture the same code runs every time.

The buffers remember no stream: what a chunk's passes read is a value, `ChunkInputs`, that its stream owns,
and it is copied into the buffers again if another stream's chunk went between two of its passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from streaming.api import DEFAULT_SCALE
from streaming.config import CHUNK_LATENTS
from streaming.gpu.cuda_graphs import CapturedGraph, GraphCapture
from streaming.gpu.side_stream import SideStream
from streaming.modules.causal_model import ForwardPass, TextContext
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.kv_cache import CacheSpan, RingKVCache

TIMESTEPS_KEPT = 64  # 64 KB each at LongLive's size


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ChunkInputs:
    """What all passes over one chunk read, beside the latents and their timestep."""

    span: CacheSpan  # where the chunk's keys and values go
    context: TextContext
    control: Tensor | None = None  # (1, L, E) as `embed_control` gives it; None: unguided
    scale: float = DEFAULT_SCALE  # strength of the control


@dataclass(frozen=True, slots=True)
class PendingCleanPass:
    """The clean pass of a finished chunk, put off: its keys and values in the ring are still noisy."""

    chunk: ChunkInputs
    latents: Tensor  # (1, F, C, h, w) clean


class ChunkPasses:
    """Shared by all streams of a model, one pass at a time.

    chunk = passes.begin(cache, start, context, control, scale)    # once a chunk
    flow = passes.denoise(chunk, xt, timestep)                     # overwritten by the next pass
    passes.write_clean_kv(PendingCleanPass(chunk, latents))        # now, or before the stream's next chunk
    """

    @torch.inference_mode()  # like all else that compiled parts are given: another kind would compile anew
    def __init__(
        self, model: CausalVaceWanModel, latent_size: tuple[int, int], capture: GraphCapture | None = None
    ) -> None:
        """`latent_size`: height and width of a latent. `capture`: how a pass becomes a graph; None: not."""
        config, weight = model.config, model.patch_embedding.weight
        _, patch_h, patch_w = config.patch_size
        rows, columns = latent_size[0] // patch_h, latent_size[1] // patch_w
        tokens = CHUNK_LATENTS * rows * columns

        def buffer(*shape: int, dtype: torch.dtype = weight.dtype) -> Tensor:
            return torch.zeros(shape, device=weight.device, dtype=dtype)

        self.capture = capture
        self.side_stream: SideStream | None = None  # where hints are computed; None: before the blocks
        self._model = model
        self._grid = (CHUNK_LATENTS, rows, columns)
        self._x = buffer(1, CHUNK_LATENTS, config.in_dim, *latent_size)
        self._time = buffer(1, CHUNK_LATENTS, config.dim)
        self._modulation = buffer(1, CHUNK_LATENTS, 6, config.dim)
        self._control = buffer(1, tokens, config.dim)
        self._scale = buffer(dtype=torch.float32)
        self._rotation = buffer(tokens, config.head_dim // 2, 2, dtype=torch.float32)
        self._slots = buffer(tokens, dtype=torch.int64)
        self._text: TextContext | None = None
        self._text_of: TextContext | None = None  # what `_text` is a copy of
        self._loaded: Callable[[], ChunkInputs | None] = lambda: None  # whose copy the other buffers are
        self._embedded_time = lru_cache(TIMESTEPS_KEPT)(self._embed_time)
        self._graphs: WeakKeyDictionary[RingKVCache, dict[bool, CapturedGraph]] = WeakKeyDictionary()

    @staticmethod
    def begin(
        cache: RingKVCache,
        start: int,
        context: TextContext,
        control: Tensor | None = None,
        scale: float = DEFAULT_SCALE,
    ) -> ChunkInputs:
        """Reserve the ring's slots for the chunk that begins with latent `start`, counted from the stream's
        beginning; returns what its passes read. Raises ValueError for a chunk that the ring cannot hold."""
        return ChunkInputs(cache.begin(start, CHUNK_LATENTS), context, control, scale)

    @torch.inference_mode()
    def prepare(self, cache: RingKVCache) -> None:
        """Capture what a stream will replay on `cache`, a ring that none has now. Without capture, or
        before the first chunk of any stream, there is nothing to capture."""
        if self.capture is None or self._text_of is None:
            return
        cache.reset()
        chunk = self.begin(cache, 0, self._text_of)
        while cache.filled < cache.window.local_attn_size:
            chunk = self.begin(cache, cache.end, self._text_of)
        for is_guided in (True, False):
            self._pass(chunk, self._x, 0.0, is_guided)
        cache.reset()

    def denoise(self, chunk: ChunkInputs, xt: Tensor, timestep: float) -> Tensor:
        """Flow of the noisy chunk xt (1, F, C, h, w), guided if the chunk is."""
        return self._pass(chunk, xt, timestep, chunk.control is not None)

    def write_clean_kv(self, pending: PendingCleanPass) -> None:
        """The clean pass: keys and values of the finished chunk replace the noisy ones."""
        self._pass(pending.chunk, pending.latents, 0.0, False)

    def _pass(self, chunk: ChunkInputs, x: Tensor, timestep: float, is_guided: bool) -> Tensor:
        self._load(chunk)
        time, modulation = self._embedded_time(timestep)
        self._x.copy_(x)
        self._time.copy_(time)
        self._modulation.copy_(modulation)
        cache = chunk.span.cache
        span = CacheSpan(cache, self._rotation, self._slots, chunk.span.length)
        if self.capture is None or cache.filled < cache.window.local_attn_size:
            return self._run(span, is_guided)
        graphs = self._graphs.setdefault(cache, {})
        if is_guided not in graphs:
            graphs[is_guided] = self.capture(lambda: self._run(span, is_guided))
        graphs[is_guided].replay()
        return graphs[is_guided].output

    def _run(self, span: CacheSpan, is_guided: bool) -> Tensor:
        """What is captured: it reads buffers only."""
        model, text = self._model, self._text
        assert text is not None
        tokens = model.embed_patches(self._x)
        shared = ForwardPass(
            tokens, self._time, self._modulation, self._grid, self._rotation, span, model.parts
        )
        if not is_guided:
            return model.run(shared, text, {})
        hints = partial(model.hints_of_chunk, shared, shared, self._control, text, self._scale)
        return model.run(
            shared, text, hints() if self.side_stream is None else self.side_stream.results(hints)
        )

    def _embed_time(self, timestep: float) -> tuple[Tensor, Tensor]:
        return self._model.embed_time(torch.full(self._x.shape[:2], timestep, device=self._x.device))

    def _load(self, chunk: ChunkInputs) -> None:
        """Copy what the passes over `chunk` read into the buffers, unless it is there."""
        if self._loaded() is chunk:
            return
        self._loaded = lambda: None  # should a copy fail half-way
        self._rotation.copy_(chunk.span.rotation)
        self._slots.copy_(chunk.span.slots)
        if chunk.control is not None:
            self._control.copy_(chunk.control)
            self._scale.fill_(chunk.scale)
        if chunk.context is not self._text_of:
            if self._text is None:
                self._text = chunk.context.empty_like()
            self._text_of = None
            for mine, given in zip(self._text.tensors(), chunk.context.tensors(), strict=True):
                mine.copy_(given)
            self._text_of = chunk.context
        self._loaded = ref(chunk)
