"""Laws of passes on lasting buffers: they equal the model's own forward, and repeating them is enough.

A CUDA graph cannot be recorded here. `Tape` stands for it: it notes every operation with the very tensors
that it touched, and a replay repeats these operations on that memory. Whatever a pass decided while it was
recorded stays decided.
"""

import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streaming.chunk_passes import ChunkPasses, FollowingPasses, PendingCleanPass
from streaming.config import WanConfig, WindowConfig
from streaming.gpu.cuda_graphs import CapturedGraph
from streaming.modules.causal_model import TextContext
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.kv_cache import RingKVCache
from streaming.parallel.message import Kind, Message
from streaming.parallel.ranks import Ranks
from tests.streaming.stream_order import stream_order

CONFIG = WanConfig(
    dim=24, ffn_dim=40, num_heads=2, num_layers=3, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0, 2)
)
WINDOW = WindowConfig(local_attn_size=9, sink_size=3)
SIZE = (4, 6)
GRID, TURNED = (2, 3), (3, 2)  # of its patches, and height and width exchanged


def tensors_of(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


class Tape(TorchDispatchMode):
    """Records what is dispatched; counts recordings and replays."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], Tensor], /) -> CapturedGraph:
        self.recorded += 1
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        calls = self._calls
        with self:
            output = run()

        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, results in calls:
                new = tensors_of(func(*args, **kwargs))
                for kept, value in zip(results, new, strict=True):
                    if kept.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
                        kept.copy_(value)  # else a view, or written in place

        for tensor in self._made_here():  # nothing of the first run may be what a replay seems to compute
            tensor.fill_(float("nan"))
        return CapturedGraph(output, replay)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, tensors_of(result)))
        return result

    def _made_here(self) -> list[Tensor]:
        """Results whose memory was made while recording: they are no buffer, and no view of one."""
        from_before: dict[int, bool] = {}  # of each storage, by where it was seen first
        made = []
        for _, args, kwargs, results in self._calls:
            for tensor in tensors_of((args, kwargs)):
                from_before.setdefault(tensor.untyped_storage().data_ptr(), True)
            for tensor in results:
                is_from_before = from_before.setdefault(tensor.untyped_storage().data_ptr(), False)
                if not is_from_before and tensor.is_floating_point():
                    made.append(tensor)
        return made


@pytest.fixture(scope="module")
def model() -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(CONFIG).eval().requires_grad_(False)


def new_cache(model: CausalVaceWanModel) -> RingKVCache:
    return model.new_cache(WINDOW, *SIZE)


class Script:
    """What a stream is asked for, chunk by chunk: as many controls as `counts` has in turn, their strengths,
    and a new prompt."""

    def __init__(
        self,
        model: CausalVaceWanModel,
        salt: int,
        chunks: int = 8,
        counts: tuple[int, int, int, int] = (1, 1, 0, 1),
    ) -> None:
        draws = torch.Generator().manual_seed(salt)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draws)

        self.noisy = [[normal(1, 3, 16, *SIZE) for _ in (1000.0, 625.0)] for _ in range(chunks)]
        self.clean = [normal(1, 3, 16, *SIZE) for _ in range(chunks)]
        self.control = [
            model.embed_control(normal(count, 3, 96, *SIZE), 3) if (count := counts[index % 4]) else None
            for index in range(chunks)
        ]
        self.scales = [
            tuple(0.3 + 0.2 * index - 0.1 * n for n in range(counts[index % 4])) for index in range(chunks)
        ]
        prompts = [model.encode_text(normal(1, 3, 10)) for _ in range(2)]
        self.text: list[TextContext] = [prompts[index > 4] for index in range(chunks)]


def by_passes(passes: ChunkPasses, cache: RingKVCache, script: Script, index: int) -> list[Tensor]:
    control, scale = script.control[index], script.scales[index]
    chunk = passes.begin(cache, 3 * index, script.text[index], control, scale)
    steps = zip(script.noisy[index], (1000.0, 625.0), strict=True)
    flows = [passes.denoise(chunk, x, t).clone() for x, t in steps]
    passes.write_clean_kv(PendingCleanPass(chunk, script.clean[index]))
    return flows


def by_forward(model: CausalVaceWanModel, cache: RingKVCache, script: Script, index: int) -> list[Tensor]:
    where = (script.text[index], cache, 3 * index)
    guidance: dict[str, Any] = {
        "control": script.control[index],
        "control_scale": torch.tensor(script.scales[index]),
    }
    flows = [
        model(x, torch.full((1, 3), t), *where, **guidance)
        for x, t in zip(script.noisy[index], (1000.0, 625.0), strict=True)
    ]
    model(script.clean[index], torch.zeros(1, 3), *where)
    return flows


@pytest.mark.parametrize("counts", [(1, 1, 0, 1), (2, 1, 0, 2), (3, 2, 3, 1)], ids=str)
@pytest.mark.parametrize("records", [False, True])
@torch.inference_mode()
def test_passes_equal_the_models_own_forward(
    model: CausalVaceWanModel, records: bool, counts: tuple[int, int, int, int]
) -> None:
    """From the first chunk on, through a full window, round the ring, and over a prompt switch; of two
    streams in turns."""
    passes = ChunkPasses(model, SIZE, Tape() if records else None)
    scripts = [Script(model, salt, counts=counts) for salt in (1, 2)]
    caches = [(new_cache(model), new_cache(model)) for _ in scripts]
    for index in range(8):
        for script, (cache, other) in zip(scripts, caches, strict=True):
            wanted = by_forward(model, other, script, index)
            got = by_passes(passes, cache, script, index)
            for flow, want in zip(got, wanted, strict=True):
                torch.testing.assert_close(flow, want, atol=1e-6, rtol=1e-5)
            for mine, theirs in zip(stream_order(cache, 2), stream_order(other, 2), strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("records", [False, True])
@torch.inference_mode()
def test_a_clean_pass_put_off_beyond_another_streams_chunk_is_the_same(
    model: CausalVaceWanModel, records: bool
) -> None:
    """Bit for bit: what the buffers hold meanwhile is another place, prompt, control and strength."""

    def run(apart: bool) -> list[list[Tensor]]:
        passes = ChunkPasses(model, SIZE, Tape() if records else None)
        scripts = [Script(model, 1), Script(model, 2, counts=(2, 1, 0, 2))]
        caches = [new_cache(model) for _ in range(2)]
        pending: list[PendingCleanPass | None] = [None, None]
        flows: list[list[Tensor]] = [[], []]

        def chunk_of(n: int, index: int) -> None:
            if (last := pending[n]) is not None:
                passes.write_clean_kv(last)
            script = scripts[n]
            where = (caches[n], 3 * index, script.text[index])
            chunk = passes.begin(*where, script.control[index], script.scales[index])
            for x, t in zip(script.noisy[index], (1000.0, 625.0), strict=True):
                flows[n].append(passes.denoise(chunk, x, t).clone())
            pending[n] = PendingCleanPass(chunk, script.clean[index])

        turns = [(n, index) for index in range(8) for n in range(2)]
        for n, index in sorted(turns) if apart else turns:
            chunk_of(n, index)
        return flows

    for alone, beside in zip(run(True), run(False), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))


class Copies(TorchDispatchMode):
    """Counts tensors that are copied into others."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.copy_.default
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_what_all_passes_over_a_chunk_read_is_loaded_once(model: CausalVaceWanModel) -> None:
    passes, cache, script = ChunkPasses(model, SIZE), new_cache(model), Script(model, 1)
    chunk = passes.begin(cache, 0, script.text[0], script.control[0])
    passes.denoise(chunk, script.noisy[0][0], 1000.0)
    with Copies() as copies:
        passes.denoise(chunk, script.noisy[0][1], 1000.0)
        passes.write_clean_kv(PendingCleanPass(chunk, script.clean[0]))
    assert copies.count == 2 * 3, "latents, time and modulation"


@torch.inference_mode()
def test_a_ring_is_recorded_twice_and_never_again(model: CausalVaceWanModel) -> None:
    """Neither a new chunk, nor another prompt, nor a new stream on the same ring records anew."""
    tape = Tape()
    passes, cache = ChunkPasses(model, SIZE, tape), new_cache(model)
    for salt in (1, 2):
        cache.reset()
        for index in range(8):
            by_passes(passes, cache, Script(model, salt), index)
    assert tape.recorded == 2
    assert tape.replayed == 2 * 6 * 3  # two streams, six chunks of a full window, two steps and a clean pass


@torch.inference_mode()
def test_a_ring_is_recorded_once_more_for_each_number_of_controls(model: CausalVaceWanModel) -> None:
    """And a ring that is prepared later is recorded for all that streams have had."""
    tape = Tape()
    passes, cache, script = (
        ChunkPasses(model, SIZE, tape),
        new_cache(model),
        Script(model, 1, 12, (3, 1, 0, 2)),
    )
    for index in range(12):
        by_passes(passes, cache, script, index)
    assert tape.recorded == 4
    passes.prepare(new_cache(model))
    assert tape.recorded == 8


@pytest.mark.parametrize("records", [False, True])
@torch.inference_mode()
def test_a_ring_that_is_turned_has_passes_of_that_shape(model: CausalVaceWanModel, records: bool) -> None:
    """Of one stream after the other, to and fro, and as the model's own forward; recorded once for each
    shape."""
    tape = Tape()
    passes, ring = ChunkPasses(model, SIZE, tape if records else None), new_cache(model)
    for grid in (GRID, TURNED, GRID, TURNED):
        ring.reset(grid)
        script, wanted = Script(model, 1), model.new_cache(WINDOW, 2 * grid[0], 2 * grid[1])
        if grid != GRID:
            script = turned(model, script)
        for index in range(6):
            flows = by_passes(passes, ring, script, index)
            for flow, want in zip(flows, by_forward(model, wanted, script, index), strict=True):
                torch.testing.assert_close(flow, want, atol=1e-6, rtol=1e-5)
    assert tape.recorded == (4 if records else 0)


def turned(model: CausalVaceWanModel, script: Script) -> Script:
    """Of the same draws, height and width exchanged."""
    script.noisy = [[x.mT.contiguous() for x in chunk] for chunk in script.noisy]
    script.clean = [x.mT.contiguous() for x in script.clean]
    draws = torch.Generator().manual_seed(5)
    given = torch.randn(1, 3, 96, *SIZE[::-1], generator=draws)
    script.control = [None if each is None else model.embed_control(given, 3) for each in script.control]
    return script


@torch.inference_mode()
def test_a_stream_on_a_prepared_ring_records_nothing_and_is_the_same(model: CausalVaceWanModel) -> None:
    """Another stream is in the midst of a chunk when the ring is prepared."""
    tape = Tape()
    passes, script = ChunkPasses(model, SIZE, tape), Script(model, 1)
    passes.prepare(ring := new_cache(model))
    assert tape.recorded == 0, "there is no text yet to record with"
    other = new_cache(model)
    by_passes(passes, other, script, 0)
    passes.prepare(ring)
    assert (tape.recorded, ring.filled) == (2, 0)
    wanted = new_cache(model)
    for index in range(8):
        for flow, want in zip(
            by_passes(passes, ring, script, index), by_forward(model, wanted, script, index), strict=True
        ):
            torch.testing.assert_close(flow, want, atol=1e-6, rtol=1e-5)
    assert tape.recorded == 2


@torch.inference_mode()
def test_a_ring_that_is_gone_takes_its_recordings_along(model: CausalVaceWanModel) -> None:
    passes = ChunkPasses(model, SIZE, lambda run: CapturedGraph(run(), lambda: None))
    cache, script = new_cache(model), Script(model, 1)
    for index in range(4):
        by_passes(passes, cache, script, index)
    assert len(passes._graphs) == 1
    passes.begin(new_cache(model), 0, script.text[0])
    del cache
    gc.collect()
    assert not passes._graphs


class Told:
    """Followers that note what they are told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def tell(self, message: Message) -> None:
        self.messages.append(message)


@torch.inference_mode()
def test_a_ring_that_is_gone_is_gone_in_followers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told with the next message, and not by whichever thread let go of it."""
    torch.manual_seed(0)
    model, told = CausalVaceWanModel(CONFIG).eval(), Told()
    monkeypatch.setattr(model, "ranks", Ranks(followers=cast(Any, told)))
    passes, context = ChunkPasses(model, SIZE), model.encode_text(torch.ones(1, 3, 10))
    passes.begin(cache := new_cache(model), 0, context)
    del cache
    gc.collect()
    passes.begin(new_cache(model), 0, context)
    begun = [Message(Kind.BEGIN, ring, rows=GRID[0], columns=GRID[1]) for ring in (1, 2)]
    assert told.messages == [begun[0], Message(Kind.DROP, 1), begun[1]]

    made: list[weakref.ref[RingKVCache]] = []

    def make() -> RingKVCache:
        made.append(weakref.ref(cache := new_cache(model)))
        return cache

    following, alive = FollowingPasses(model, SIZE, None, make), list[int]()
    for message in told.messages:
        following.follow(message)
        gc.collect()
        alive.append(sum(ring() is not None for ring in made))
    assert alive == [1, 0, 1]


@torch.inference_mode()
def test_a_follower_whose_ring_is_another_says_so(model: CausalVaceWanModel) -> None:
    following = FollowingPasses(model, SIZE, None, lambda: new_cache(model))
    fresh = Message(Kind.BEGIN, 1, 0, 0, rows=GRID[0], columns=GRID[1])
    following.follow(fresh)
    following.follow(Message(Kind.BEGIN, 1, 3, 3))
    following.follow(fresh)  # the leader's was reset
    with pytest.raises(RuntimeError, match="ring 1 ends at 3, the leader's at 6"):
        following.follow(Message(Kind.BEGIN, 1, 6, 6))


def test_a_gap_in_the_stream_is_refused(model: CausalVaceWanModel) -> None:
    passes = ChunkPasses(model, SIZE)
    with pytest.raises(ValueError, match=r"\[3, 6\).*ends at 0"):
        passes.begin(new_cache(model), 3, model.encode_text(torch.ones(1, 3, 10)))
