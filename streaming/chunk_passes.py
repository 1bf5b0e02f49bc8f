"""Passes over a chunk, on buffers that are allocated once: nothing that a pass reads ever moves.

So a pass can be captured and replayed: by any chunk, under any prompt, at any strength. What differs between
streams is the ring of keys and values alone, gigabytes that nobody wants to copy back and forth (3.5 GB in
and out are 3 ms at 4.3 TB/s); therefore a graph belongs to a ring, which `KVCachePool` gives to one stream
after the other. Where in the ring a chunk is written is an input too, so a ring needs two graphs: with
guidance and without (the clean pass is a pass without). Guidance by several controls is a graph for each
number of them, and so is what they are kept in.

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
    control: Tensor | None = None  # (N, L, E) as `embed_control` gives it; None: unguided
    scales: tuple[float, ...] = (DEFAULT_SCALE,)  # strength of each control

    @property
    def controls(self) -> int:
        """How many controls guide it."""
        return 0 if self.control is None else len(self.control)


@dataclass(frozen=True, slots=True)
class _Guide:
    """Room for the controls of a chunk, for one number of them."""

    control: Tensor  # (N, L, E)
    scales: Tensor  # (N,) float32


@dataclass(frozen=True, slots=True)
class PendingCleanPass:
    """The clean pass of a finished chunk, put off: its keys and values in the ring are still noisy."""

    chunk: ChunkInputs
    latents: Tensor  # (1, F, C, h, w) clean


class ChunkPasses:
    """Shared by all streams of a model, one pass at a time.

    chunk = passes.begin(cache, start, context, control, scales)   # once a chunk
    flow = passes.denoise(chunk, xt, timestep)                     # overwritten by the next pass
    passes.write_clean_kv(PendingCleanPass(chunk, latents))        # now, or before the stream's next chunk
    """

    @torch.inference_mode()  # like all else that compiled parts are given: another kind would compile anew
    def __init__(
        self, model: CausalVaceWanModel, latent_size: tuple[int, int], capture: GraphCapture | None = None
    ) -> None:
        """`latent_size`: height and width of a latent. `capture`: how a pass becomes a graph; None: not."""
        config = model.config
        _, patch_h, patch_w = config.patch_size
        rows, columns = latent_size[0] // patch_h, latent_size[1] // patch_w
        tokens = CHUNK_LATENTS * rows * columns
        self.capture = capture
        self.side_stream: SideStream | None = None  # where hints are computed; None: before the blocks
        self._model = model
        self._grid = (CHUNK_LATENTS, rows, columns)
        self._x = self._buffer(1, CHUNK_LATENTS, config.in_dim, *latent_size)
        self._time = self._buffer(1, CHUNK_LATENTS, config.dim)
        self._modulation = self._buffer(1, CHUNK_LATENTS, 6, config.dim)
        self._rotation = self._buffer(tokens, config.head_dim // 2, 2, dtype=torch.float32)
        self._slots = self._buffer(tokens, dtype=torch.int64)
        self._guides: dict[int, _Guide] = {}  # by the number of controls
        self._guide(1)
        self._text: TextContext | None = None
        self._text_of: TextContext | None = None  # what `_text` is a copy of
        self._loaded: Callable[[], ChunkInputs | None] = lambda: None  # whose copy the other buffers are
        self._embedded_time = lru_cache(TIMESTEPS_KEPT)(self._embed_time)
        # By the number of controls, of each ring.
        self._graphs: WeakKeyDictionary[RingKVCache, dict[int, CapturedGraph]] = WeakKeyDictionary()

    @staticmethod
    def begin(
        cache: RingKVCache,
        start: int,
        context: TextContext,
        control: Tensor | None = None,
        scales: tuple[float, ...] = (DEFAULT_SCALE,),
    ) -> ChunkInputs:
        """Reserve the ring's slots for the chunk that begins with latent `start`, counted from the stream's
        beginning; returns what its passes read. Raises ValueError for a chunk that the ring cannot hold."""
        return ChunkInputs(cache.begin(start, CHUNK_LATENTS), context, control, scales)

    @torch.inference_mode()
    def prepare(self, cache: RingKVCache) -> None:
        """Capture what a stream will replay on `cache`, a ring that none has now: passes by one control, by
        as many as streams have had, and by none. Without capture, or before the first chunk of any stream,
        there is nothing to capture."""
        if self.capture is None or self._text_of is None:
            return
        cache.reset()
        chunk = self.begin(cache, 0, self._text_of)
        while cache.filled < cache.window.local_attn_size:
            chunk = self.begin(cache, cache.end, self._text_of)
        for controls in (*self._guides, 0):
            self._pass(chunk, self._x, 0.0, controls)
        cache.reset()

    def denoise(self, chunk: ChunkInputs, xt: Tensor, timestep: float) -> Tensor:
        """Flow of the noisy chunk xt (1, F, C, h, w), guided if the chunk is."""
        return self._pass(chunk, xt, timestep, chunk.controls)

    def write_clean_kv(self, pending: PendingCleanPass) -> None:
        """The clean pass: keys and values of the finished chunk replace the noisy ones."""
        self._pass(pending.chunk, pending.latents, 0.0, 0)

    def _pass(self, chunk: ChunkInputs, x: Tensor, timestep: float, controls: int) -> Tensor:
        self._load(chunk)
        time, modulation = self._embedded_time(timestep)
        self._x.copy_(x)
        self._time.copy_(time)
        self._modulation.copy_(modulation)
        cache = chunk.span.cache
        span = CacheSpan(cache, self._rotation, self._slots, chunk.span.length)
        if self.capture is None or cache.filled < cache.window.local_attn_size:
            return self._run(span, controls)
        graphs = self._graphs.setdefault(cache, {})
        if controls not in graphs:
            graphs[controls] = self.capture(lambda: self._run(span, controls))
        graphs[controls].replay()
        return graphs[controls].output

    def _run(self, span: CacheSpan, controls: int) -> Tensor:
        """What is captured: it reads buffers only."""
        model, text = self._model, self._text
        assert text is not None
        tokens = model.embed_patches(self._x)
        shared = ForwardPass(
            tokens, self._time, self._modulation, self._grid, self._rotation, span, model.parts
        )
        if not controls:
            return model.run(shared, text, {})
        guide = self._guides[controls]
        hints = partial(model.hints_of_chunk, shared, shared, guide.control, text, guide.scales)
        return model.run(
            shared, text, hints() if self.side_stream is None else self.side_stream.results(hints)
        )

    def _guide(self, controls: int) -> _Guide:
        """Made when so many are first asked for: few streams have more than one."""
        if controls not in self._guides:
            tokens, width = len(self._rotation), self._model.config.dim
            scales = self._buffer(controls, dtype=torch.float32)
            self._guides[controls] = _Guide(self._buffer(controls, tokens, width), scales)
        return self._guides[controls]

    def _buffer(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros of the model's type, or another."""
        return self._model.patch_embedding.weight.new_zeros(shape, dtype=dtype)

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
            guide = self._guide(chunk.controls)
            guide.control.copy_(chunk.control)
            for room, scale in zip(guide.scales, chunk.scales, strict=True):
                room.fill_(scale)  # a copy from the host would wait for the device
        if chunk.context is not self._text_of:
            if self._text is None:
                self._text = chunk.context.empty_like()
            self._text_of = None
            for mine, given in zip(self._text.tensors(), chunk.context.tensors(), strict=True):
                mine.copy_(given)
            self._text_of = chunk.context
        self._loaded = ref(chunk)
