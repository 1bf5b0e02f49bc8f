"""All passes over a chunk, on inputs that are allocated once: nothing that a pass reads ever moves.

So a pass can be recorded and repeated: by any chunk, under any prompt, at any strength. What differs between
streams is the ring of keys and values alone, gigabytes that nobody wants to copy back and forth (3.5 GB in
and out are 3 ms at 4.3 TB/s); therefore a recording belongs to a ring, and rings are lent to one stream after
the other (`RingPool`). Where in the ring a chunk is written is an input too, so a ring needs two recordings:
with guidance and without (the clean pass is a pass without).

Only a full window is recorded: before, every chunk has a window of another length, and it fills within
seconds. Without a recorder the same code runs every time.
"""

from functools import lru_cache, partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from streaming.config import CHUNK_LATENTS
from streaming.cuda_graphs import Recorder, Recording
from streaming.modules.causal_model import ForwardPass, TextContext
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.kv_cache import CacheSpan, RingKVCache
from streaming.side_stream import SideStream

TIMESTEPS_KEPT = 64  # 64 KB each at LongLive's size


class ChunkPasses:
    """Shared by all streams of a model, one chunk at a time.

    passes.begin(cache, start, context, control, scale)    # once a chunk
    flow = passes.denoise(xt, timestep)                    # used up before the next pass
    passes.remember(latents)
    """

    @torch.inference_mode()  # like all else that compiled parts are given: another kind would compile anew
    def __init__(
        self, model: CausalVaceWanModel, latent_size: tuple[int, int], record: Recorder | None = None
    ) -> None:
        """`latent_size`: height and width of a latent. `record`: how a pass is recorded; None: not at all."""
        config, weight = model.config, model.patch_embedding.weight
        _, patch_h, patch_w = config.patch_size
        rows, columns = latent_size[0] // patch_h, latent_size[1] // patch_w
        tokens = CHUNK_LATENTS * rows * columns

        def buffer(*shape: int, dtype: torch.dtype = weight.dtype) -> Tensor:
            return torch.zeros(shape, device=weight.device, dtype=dtype)

        self.record = record
        self.beside: SideStream | None = None  # where hints are computed; None: before the blocks
        self._model = model
        self._grid = (CHUNK_LATENTS, rows, columns)
        self._x = buffer(1, CHUNK_LATENTS, config.in_dim, *latent_size)
        self._time = buffer(1, CHUNK_LATENTS, config.dim)
        self._modulation = buffer(1, CHUNK_LATENTS, 6, config.dim)
        self._control = buffer(1, tokens, config.dim)
        self._scale = buffer(dtype=torch.float32)
        self._turn = buffer(tokens, config.head_dim // 2, 2, dtype=torch.float32)
        self._slots = buffer(tokens, dtype=torch.int64)
        self._text: TextContext | None = None
        self._text_of: TextContext | None = None  # what `_text` is a copy of
        self._span: CacheSpan | None = None
        self._is_guided = False
        self._embedded_time = lru_cache(TIMESTEPS_KEPT)(self._embed_time)
        self._recordings: WeakKeyDictionary[RingKVCache, dict[bool, Recording]] = WeakKeyDictionary()

    def begin(
        self,
        cache: RingKVCache,
        start: int,
        context: TextContext,
        control: Tensor | None = None,
        scale: float = 1.0,
    ) -> None:
        """Make ready for the chunk that begins with latent `start`; `control` (1, L, E) as `embed_control`
        gives it. Raises ValueError for a chunk that the ring cannot hold."""
        span = cache.begin(start, CHUNK_LATENTS)
        self._turn.copy_(span.rotation)
        self._slots.copy_(span.slots)
        self._span = CacheSpan(cache, self._turn, self._slots, span.length)
        self._is_guided = control is not None
        if control is not None:
            self._control.copy_(control)
            self._scale.fill_(scale)
        self._load_text(context)

    @torch.inference_mode()
    def prepare(self, cache: RingKVCache) -> None:
        """Record what a stream will repeat on `cache`, a ring that none has now. Without a recorder, or
        before the first chunk of any stream, there is nothing to record."""
        if self.record is None or self._text_of is None:
            return
        cache.reset()
        while cache.filled < cache.window.local_attn_size:
            self.begin(cache, cache.end, self._text_of)
        for is_guided in (True, False):
            self._pass(self._x, 0.0, is_guided)
        cache.reset()

    def denoise(self, xt: Tensor, timestep: float) -> Tensor:
        """Flow of the noisy chunk xt (1, F, C, h, w), guided if the chunk is."""
        return self._pass(xt, timestep, self._is_guided)

    def remember(self, latents: Tensor) -> None:
        """The clean pass: keys and values of the finished chunk (1, F, C, h, w) replace the noisy ones."""
        self._pass(latents, 0.0, False)

    def _pass(self, x: Tensor, timestep: float, is_guided: bool) -> Tensor:
        span = self._span
        assert span is not None, "begin comes first"
        time, modulation = self._embedded_time(timestep)
        self._x.copy_(x)
        self._time.copy_(time)
        self._modulation.copy_(modulation)
        if self.record is None or span.cache.filled < span.cache.window.local_attn_size:
            return self._run(span, is_guided)
        recordings = self._recordings.setdefault(span.cache, {})
        if is_guided not in recordings:
            recordings[is_guided] = self.record(lambda: self._run(span, is_guided))
        recordings[is_guided].replay()
        return recordings[is_guided].output

    def _run(self, span: CacheSpan, is_guided: bool) -> Tensor:
        """What is recorded: it reads buffers only."""
        model, text = self._model, self._text
        assert text is not None
        tokens = model.embed_patches(self._x)
        shared = ForwardPass(tokens, self._time, self._modulation, self._grid, self._turn, span)
        if not is_guided:
            return model.run(shared, text, {})
        hints = partial(model.hints_of_chunk, shared, shared, self._control, text, self._scale)
        return model.run(shared, text, hints() if self.beside is None else self.beside.results(hints))

    def _embed_time(self, timestep: float) -> tuple[Tensor, Tensor]:
        return self._model.embed_time(torch.full(self._x.shape[:2], timestep, device=self._x.device))

    def _load_text(self, context: TextContext) -> None:
        if context is self._text_of:
            return
        if self._text is None:
            self._text = context.empty_like()
        for mine, given in zip(self._text.tensors(), context.tensors(), strict=True):
            mine.copy_(given)
        self._text_of = context
