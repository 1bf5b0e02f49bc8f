"""Passes over a chunk, on buffers that are allocated once: nothing that a pass reads ever moves.

So a pass can be captured and replayed: by any chunk, under any prompt, at any strength. What differs between
streams is the ring of keys and values alone, gigabytes that nobody wants to copy back and forth (3.5 GB in
and out are 3 ms at 4.3 TB/s); therefore a graph belongs to a ring, which `KVCachePool` gives to one stream
after the other. Where in the ring a chunk is written is an input too, so a ring needs two graphs: with
guidance and without (the clean pass is a pass without). Guidance by several controls is a graph for each
number of them, and so is what they are kept in. A ring that streams of both shapes of picture have had one
after the other has graphs for each: as many tokens in another grid, on the same buffers.

Only a full window is captured: before, every chunk has a window of another length, and it fills within
seconds. Without capture the same code runs every time.

Several ranks run the same passes at the same time, each with its share of the tokens and the ring of its
heads. The leader runs `ChunkPasses` and tells of all that it does; `FollowingPasses` do what they are told.
All collectives of a pass are within `_run`, and so within its graph.

The buffers remember no stream: what a chunk's passes read is a value, `ChunkInputs`, that its stream owns,
and it is copied into the buffers again if another stream's chunk went between two of its passes.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from typing import TypeAlias
from weakref import WeakKeyDictionary, finalize, ref

import torch
from torch import Tensor

from streaming.api import DEFAULT_SCALE
from streaming.config import CHUNK_LATENTS
from streaming.gpu.cuda_graphs import CapturedGraph, GraphCapture
from streaming.gpu.side_stream import SideStream
from streaming.modules.causal_model import TextContext
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.kv_cache import CacheSpan, RingKVCache
from streaming.parallel.message import Kind, Message

TIMESTEPS_KEPT = 64  # 64 KB each at LongLive's size


GraphKey: TypeAlias = tuple[tuple[int, int], int]  # a grid, and the number of controls


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


@dataclass(frozen=True, slots=True)
class _Forward:
    """What a forward beside the buffers reads, text and ring apart; as in `CausalVaceWanModel.forward`."""

    x: Tensor
    timestep: Tensor
    control: Tensor | None
    control_scale: Tensor | None
    references: Tensor | None

    def tensors(self) -> list[Tensor]:
        every = (self.x, self.timestep, self.control, self.control_scale, self.references)
        return [tensor for tensor in every if tensor is not None]

    def run(self, model: CausalVaceWanModel, context: TextContext, cache: RingKVCache, start: int) -> Tensor:
        x, timestep, where = self.x, self.timestep, (context, cache, start)
        if self.control is None:
            return model(x, timestep, *where)
        return model(
            x,
            timestep,
            *where,
            control=self.control,
            control_scale=self.control_scale,
            references=self.references,
        )


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
        self._ranks = model.ranks
        self._patch = (patch_h, patch_w)
        # Of latents of either shape: see `_x_of`.
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
        # By the grid of a latent's tokens and the number of controls, of each ring.
        self._graphs: WeakKeyDictionary[RingKVCache, dict[GraphKey, CapturedGraph]] = WeakKeyDictionary()
        # By these followers know rings; the numbers of those that are gone, until they are told.
        self._numbers: WeakKeyDictionary[RingKVCache, int] = WeakKeyDictionary()
        self._counted, self._gone = count(1), deque[int]()

    def begin(
        self,
        cache: RingKVCache,
        start: int,
        context: TextContext,
        control: Tensor | None = None,
        scales: tuple[float, ...] = (DEFAULT_SCALE,),
    ) -> ChunkInputs:
        """Reserve the ring's slots for the chunk that begins with latent `start`, counted from the stream's
        beginning; returns what its passes read. Raises ValueError for a chunk that the ring cannot hold."""
        end = cache.end
        span = cache.begin(start, CHUNK_LATENTS)
        rows, columns = cache.grid
        self._ranks.tell(Message(Kind.BEGIN, self._number(cache), end, start, rows=rows, columns=columns))
        return ChunkInputs(span, context, control, scales)

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
            self._pass(chunk, self._x_of(cache), 0.0, controls)
        cache.reset()

    def denoise(self, chunk: ChunkInputs, xt: Tensor, timestep: float) -> Tensor:
        """Flow of the noisy chunk xt (1, F, C, h, w), guided if the chunk is."""
        return self._pass(chunk, xt, timestep, chunk.controls)

    def write_clean_kv(self, pending: PendingCleanPass) -> None:
        """The clean pass: keys and values of the finished chunk replace the noisy ones."""
        self._pass(pending.chunk, pending.latents, 0.0, 0)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: TextContext,
        cache: RingKVCache,
        start: int,
        *,
        control: Tensor | None = None,
        control_scale: Tensor | None = None,
        references: Tensor | None = None,
    ) -> Tensor:
        """The model's own forward, beside the lasting buffers and never captured: for what is no pass over a
        chunk, as a recache, or has references. Strengths (N,) float32 come with `control`."""
        given = _Forward(x, timestep.float(), control, control_scale, references)
        if self._ranks.size == 1:
            return given.run(self._model, context, cache, start)
        has_text = self._load_text(context)
        numbers = self._number(cache), cache.end, start, x.shape[1]
        controls, pictures = (0 if y is None else y.shape[n] for n, y in enumerate((control, references)))
        message = Message(
            Kind.FORWARD,
            *numbers,
            controls=controls,
            references=pictures,
            rows=cache.grid[0],
            columns=cache.grid[1],
            has_text=has_text,
        )
        with self._ranks.told(message):
            self._share(self._text_buffers() if has_text else ())
            self._share(given.tensors())
            return given.run(self._model, context, cache, start)

    def _pass(self, chunk: ChunkInputs, x: Tensor, timestep: float, controls: int) -> Tensor:
        self._load(chunk)
        cache, length = chunk.span.cache, chunk.span.length
        self._x_of(cache).copy_(x)
        message = Message(Kind.PASS, self._number(cache), length=length, controls=controls, timestep=timestep)
        with self._ranks.told(message):
            return self._compute(cache, length, timestep, controls)

    def _compute(self, cache: RingKVCache, length: int, timestep: float, controls: int) -> Tensor:
        """A pass over what the buffers hold."""
        time, modulation = self._embedded_time(timestep)
        self._time.copy_(time)
        self._modulation.copy_(modulation)
        span = CacheSpan(cache, self._rotation, self._slots, length)
        if self.capture is None or cache.filled < cache.window.local_attn_size:
            return self._run(span, controls)
        graphs = self._graphs.setdefault(cache, {})
        key = cache.grid, controls
        if key not in graphs:
            graphs[key] = self.capture(lambda: self._run(span, controls))
        graphs[key].replay()
        return graphs[key].output

    def _run(self, span: CacheSpan, controls: int) -> Tensor:
        """What is captured: it reads buffers only."""
        model, text, x = self._model, self._text, self._x_of(span.cache)
        assert text is not None
        self._ranks.broadcast(x)
        tokens, grid = model.embed_patches(x), (CHUNK_LATENTS, *span.cache.grid)
        shared = model.shared(tokens, self._time, self._modulation, grid, self._rotation, span)
        if not controls:
            return model.run(shared, text, {})
        guide = self._guides[controls]
        hints = partial(model.hints_of_chunk, shared, shared, guide.control, text, guide.scales)
        return model.run(
            shared, text, hints() if self.side_stream is None else self.side_stream.results(hints)
        )

    def _x_of(self, cache: RingKVCache) -> Tensor:
        """The buffer of the noisy chunk, (1, F, C, h, w) as the ring's streams have it: the same memory in
        either shape."""
        return self._x.view(*self._x.shape[:3], *self._latent_size(cache))

    def _latent_size(self, cache: RingKVCache) -> tuple[int, int]:
        (rows, columns), (patch_h, patch_w) = cache.grid, self._patch
        return rows * patch_h, columns * patch_w

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
        has_text = self._load_text(chunk.context)
        with self._ranks.told(Message(Kind.LOAD, controls=chunk.controls, has_text=has_text)):
            self._share(self._chunk_buffers(chunk.controls))
            self._share(self._text_buffers() if has_text else ())
        self._loaded = ref(chunk)

    def _load_text(self, context: TextContext) -> bool:
        """Whether it was another prompt's."""
        if context is self._text_of:
            return False
        if self._text is None:
            self._text = context.empty_like()
        self._text_of = None
        for mine, given in zip(self._text.tensors(), context.tensors(), strict=True):
            mine.copy_(given)
        self._text_of = context
        return True

    def _chunk_buffers(self, controls: int) -> list[Tensor]:
        """What differs from chunk to chunk, text apart."""
        guide = self._guide(controls) if controls else None
        return [self._rotation, self._slots, *([guide.control, guide.scales] if guide else [])]

    def _text_buffers(self) -> list[Tensor]:
        if self._text is None:  # a follower's, which has been given none yet
            width = self._model.config.text_dim
            self._text = self._model.encode_text(self._buffer(1, 1, width)).empty_like()
        return self._text.tensors()

    def _share(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            self._ranks.broadcast(tensor)

    def _number(self, cache: RingKVCache) -> int:
        """The ring's number. Here followers hear of those that are gone: that happens in any thread."""
        while self._gone:
            self._ranks.tell(Message(Kind.DROP, self._gone.popleft()))
        if cache not in self._numbers:
            self._numbers[cache] = next(self._counted)
            finalize(cache, self._gone.append, self._numbers[cache]).atexit = False
        return self._numbers[cache]


class FollowingPasses(ChunkPasses):
    """Passes of a follower: it has the same model, and rings with its share of the heads."""

    def __init__(
        self,
        model: CausalVaceWanModel,
        latent_size: tuple[int, int],
        capture: GraphCapture | None,
        new_cache: Callable[[], RingKVCache],
    ) -> None:
        super().__init__(model, latent_size, capture)
        self._new_cache = new_cache
        self._rings: dict[int, RingKVCache] = {}

    @torch.inference_mode()
    def follow(self, message: Message) -> None:
        """Do what the leader does. Raises RuntimeError where that cannot be."""
        match message.kind:
            case Kind.BEGIN:
                self._ring(message).begin(message.start, CHUNK_LATENTS)
            case Kind.LOAD:
                self._share(self._chunk_buffers(message.controls))
                self._share(self._text_buffers() if message.has_text else ())
            case Kind.PASS:
                ring = self._rings[message.ring]
                self._compute(ring, message.length, message.timestep, message.controls)
            case Kind.FORWARD:
                self._share(self._text_buffers() if message.has_text else ())
                ring = self._ring(message, may_skip=True)
                given = self._room_for(message, self._latent_size(ring))
                self._share(given.tensors())
                assert self._text is not None
                given.run(self._model, self._text, ring, message.start)
            case Kind.DROP:
                self._rings.pop(message.ring, None)

    def _ring(self, message: Message, *, may_skip: bool = False) -> RingKVCache:
        """As the leader's was when it told of this: made by its first chunk, and fresh again by a reset.
        `may_skip`: the leader's may go on elsewhere after the sink, as of a stream that comes from elsewhere.
        """
        ring = self._rings.get(message.ring)
        if ring is None:
            ring = self._rings[message.ring] = self._new_cache()
        if message.end == 0:
            ring.reset((message.rows, message.columns))
        if may_skip and ring.end != message.end and ring.end == ring.window.sink_size:
            ring.skip_to(message.end)
        if ring.end != message.end:
            raise RuntimeError(f"ring {message.ring} ends at {ring.end}, the leader's at {message.end}")
        return ring

    def _room_for(self, message: Message, latent_size: tuple[int, int]) -> "_Forward":
        latent = self._x.shape[2], *latent_size
        tokens = (message.references + message.latents) * message.rows * message.columns
        control = scale = references = None
        if message.controls:
            control = self._buffer(message.controls, tokens, self._model.config.dim)
            scale = self._buffer(message.controls, dtype=torch.float32)
        if message.references:
            references = self._buffer(1, message.references, *latent)
        timestep = self._buffer(1, message.latents, dtype=torch.float32)
        return _Forward(self._buffer(1, message.latents, *latent), timestep, control, scale, references)
