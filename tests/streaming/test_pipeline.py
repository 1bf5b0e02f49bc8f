"""The feature document's call."""

import gc
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from streaming.blocks.text_conditioning import parse_prompts
from streaming.checkpoints.presets import EMBEDDED, PRESETS
from streaming.config import ConfigError, PipelineConfig
from streaming.gpu.cuda_graphs import CapturedGraph
from streaming.pipeline import GenerationFailed, LongLivePipeline, Sampling
from streaming.session import StreamSession
from tests.streaming.tiny_preset import NARROW, narrow_pipeline

CPU = torch.device("cpu")
SIZE = (32, 48)
DOCUMENT = {
    "model_dir": "models",
    "model_config": {"base_model_name": "embedded", "base_model_kwargs": {"vace_in_dim": 96}},
    "height": SIZE[0],
    "width": SIZE[1],
}


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    """The model that the document's call loads here, unless a test asks for the one that is shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, NARROW.name, NARROW)
        yield


@pytest.fixture(scope="module")
def pipeline() -> LongLivePipeline:
    return narrow_pipeline()


def depth(salt: int, frames: int = 12) -> torch.Tensor:
    return torch.rand(1, 1, frames, *SIZE, generator=torch.Generator().manual_seed(salt)) * 2 - 1


def test_one_call_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, EMBEDDED.name, EMBEDDED)
    pipeline, counts = LongLivePipeline(DOCUMENT, device=CPU, dtype=torch.float32), []
    for index in range(3):
        output = pipeline(
            prompts=[{"text": "a statue of molten gold", "weight": 100}],
            guidance_mode="depth",
            vace_input=depth(index),
            vace_context_scale=1.0,
        )
        counts.append(output.shape[0])
        assert output.shape[1:] == (*SIZE, 3) and output.dtype == torch.float32
        assert 0 <= output.min() <= output.max() <= 1
    assert counts == [9, 12, 12]


def test_twelve_frames_for_the_first_chunk_mean_the_newest_nine(pipeline: LongLivePipeline) -> None:
    prompts, given = parse_prompts("gold"), depth(0)
    outputs = [
        pipeline.generate(
            pipeline.open_session(seed=1), prompts, guidance_mode="depth", vace_input=given[:, :, -count:]
        )
        for count in (12, 9)
    ]
    assert torch.equal(*outputs)


def test_three_channels_say_the_same_as_one(pipeline: LongLivePipeline) -> None:
    prompts, given = parse_prompts("gold"), depth(0)
    outputs = [
        pipeline.generate(
            pipeline.open_session(seed=1),
            prompts,
            guidance_mode="depth",
            vace_input=given.expand(-1, c, -1, -1, -1),
        )
        for c in (1, 3)
    ]
    assert torch.equal(*outputs)


def test_depth_shapes_the_picture_by_its_strength(pipeline: LongLivePipeline) -> None:
    prompts = parse_prompts("gold")

    def first_chunk(salt: int, scale: float) -> torch.Tensor:
        return pipeline.generate(
            pipeline.open_session(seed=1), prompts,
            guidance_mode="depth", vace_input=depth(salt), vace_context_scale=scale,
        )  # fmt: skip

    unguided = pipeline.generate(pipeline.open_session(seed=1), prompts)
    assert torch.equal(first_chunk(0, 0.0), unguided)
    weak, strong = ((first_chunk(0, scale) - unguided).abs().mean() for scale in (0.5, 1.5))
    assert 0 < weak < strong
    assert not torch.equal(first_chunk(0, 1.0), first_chunk(1, 1.0))


def test_bad_input_is_named_before_anything_changes(pipeline: LongLivePipeline) -> None:
    session, prompts = pipeline.open_session(seed=0), parse_prompts("gold")
    for options, named in (
        ({"guidance_mode": "depth"}, "'depth' needs vace_input"),
        ({"vace_input": depth(0)}, "takes no vace_input"),
        ({"transition": "fade"}, "transition must be recache, cut or blend, got 'fade'"),
        ({"transition": "blend", "blend_chunks": 0}, "blend_chunks must be 1 ... 32, got 0"),
        ({"blend_curve": "bounce"}, "blend_curve must be linear or slerp, got 'bounce'"),
        ({"sampling": Sampling(steps=(500, 1000))}, r"must fall within 1000 ... 1, got \(500, 1000\)"),
        (
            {"guidance_mode": "depth", "vace_input": depth(0), "vace_source": depth(1)},
            "needs vace_input_masks",
        ),
        ({"guidance_mode": "r2v", "ref_images": depth(0)}, r"ref_images must be .* got \(1, 1, 12, 32, 48\)"),
        ({"guidance_mode": "edges"}, "guidance_mode must be .* got 'edges'"),
        ({"vace_context_scale": 2.5}, "vace_context_scale must be 0 ... 2, got 2.5"),
        ({"guidance_mode": "depth", "vace_input": depth(0, frames=10)}, "Expected 12 depth frames .* got 10"),
        ({"guidance_mode": "depth", "vace_input": depth(0) * 3}, r"within \[-1, 1\]"),
        ({"guidance_mode": "depth", "vace_input": depth(0) * float("nan")}, "finite"),
    ):
        with pytest.raises(ValueError, match=named):
            pipeline.generate(session, prompts, **options)
    assert (session.chunk, session.generation, session.control) == (0, 0, None)


def test_bad_input_with_a_cut_leaves_the_stream_as_it_was(pipeline: LongLivePipeline) -> None:
    session, prompts = pipeline.open_session(seed=0), parse_prompts("gold")
    pipeline.generate(session, prompts)
    with pytest.raises(ValueError, match="finite"):
        pipeline.generate(
            session, prompts, guidance_mode="depth", vace_input=depth(0) * float("nan"), transition="cut"
        )
    assert (session.chunk, session.generation) == (1, 0)


def test_a_bad_configuration_is_named() -> None:
    for config, named in (
        ({"heigth": 480}, "unknown configuration key 'heigth'"),
        ({"model_config": {"base_model_kwargs": {"vace_in_dim": 32}}}, "vace_in_dim must be 96 .* got 32"),
        ({"model_config": {"base_model_name": "sora"}}, "model must be one of .* got 'sora'"),
        ({"height": 100}, "multiples of 16, up to 4096, got 256x100"),
    ):
        with pytest.raises(ConfigError, match=named):
            LongLivePipeline(config, device=CPU, dtype=torch.float32)


def test_sessions_have_the_size_of_the_model_and_not_of_the_document() -> None:
    assert PipelineConfig.from_mapping(DOCUMENT).height == SIZE[0]
    assert PipelineConfig().weight_paths == {}


def picture(salt: int) -> torch.Tensor:
    return torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(salt)) * 2 - 1


def test_references_shape_the_chunk_in_which_they_are_new(pipeline: LongLivePipeline) -> None:
    """And never move or cut the depth that goes with them: without strength they change nothing."""
    prompts, session = parse_prompts("gold"), pipeline.open_session(seed=1)
    guided = {"guidance_mode": "depth+r2v", "ref_images": [picture(0), picture(1)]}
    plain = {"guidance_mode": "depth"}
    twin = pipeline.open_session(seed=1)
    first = pipeline.generate(session, prompts, vace_input=depth(0), **guided)
    assert first.shape[0] == 9
    assert not torch.equal(first, pipeline.generate(twin, prompts, vace_input=depth(0), **plain))
    known = session.references
    pipeline.generate(session, prompts, vace_input=depth(1), **guided)
    assert known is not None and session.references is known
    pipeline.generate(session, prompts, vace_input=depth(2), **plain)
    assert session.references is None


def test_references_alone_guide_once_and_then_cost_nothing(
    pipeline: LongLivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, session, calls = parse_prompts("gold"), pipeline.open_session(seed=1), []
    hints = pipeline.models.transformer.hints
    monkeypatch.setattr(pipeline.models.transformer, "hints", lambda *a: calls.append(1) or hints(*a))
    references = {"guidance_mode": "r2v", "ref_images": [picture(0)]}
    counts = []
    for options in (references, references, references | {"references_every_chunk": True}):
        calls.clear()
        pipeline.generate(session, prompts, **options)
        counts.append(len(calls))
    steps = len(pipeline.preset.sampler.denoising_step_list)
    assert counts == [steps, 0, steps]
    for again in (1, 2):
        session.reset()
        pipeline.generate(session, prompts, **references)
        assert len(calls) == (1 + again) * steps  # a reset forgets them
    pipeline.generate(session, prompts, transition="cut", **references)
    assert len(calls) == 4 * steps  # and so does a cut
    pipeline.generate(session, prompts)
    pipeline.generate(session, prompts, **references)
    assert len(calls) == 5 * steps  # left out once, they are new


def test_references_beside_depth_guide_once_and_depth_goes_on(pipeline: LongLivePipeline) -> None:
    prompts, both = parse_prompts("gold"), {"guidance_mode": "depth+r2v", "ref_images": [picture(0)]}
    known, left_out, repeated = (pipeline.open_session(seed=1) for _ in range(3))
    for session in (known, left_out, repeated):
        pipeline.generate(session, prompts, vace_input=depth(0), **both)
    second = pipeline.generate(known, prompts, vace_input=depth(1), **both)
    assert torch.equal(
        second, pipeline.generate(left_out, prompts, vace_input=depth(1), guidance_mode="depth")
    )
    again = pipeline.generate(repeated, prompts, vace_input=depth(1), references_every_chunk=True, **both)
    assert not torch.equal(second, again)
    third = [
        pipeline.generate(session, prompts, vace_input=depth(2), **both) for session in (known, left_out)
    ]
    assert not torch.equal(*third), "left out once, they are new"


def test_a_cut_equals_fresh_with_depth_and_the_same_references(pipeline: LongLivePipeline) -> None:
    gold, clay = parse_prompts("gold"), parse_prompts("clay")
    both = {"guidance_mode": "depth+r2v", "ref_images": [picture(0)]}
    used, fresh = pipeline.open_session(seed=1), pipeline.open_session(seed=2)
    for index in range(2):
        pipeline.generate(used, gold, vace_input=depth(index), **both)
    for index, how in enumerate(({"transition": "cut", "seed": 2}, {})):
        found = pipeline.generate(used, clay, vace_input=depth(5 + index), **both, **how)
        assert torch.equal(found, pipeline.generate(fresh, clay, vace_input=depth(5 + index), **both))
    assert (used.chunk, used.generation, used.frame) == (2, 1, 9 + 12 + 9 + 12)


def test_a_cut_resets_a_stream_that_has_not_begun_only_to_give_it_a_seed(pipeline: LongLivePipeline) -> None:
    prompts = parse_prompts("gold")
    plain, cut, seeded = (pipeline.open_session(seed=1) for _ in range(3))
    first = pipeline.generate(plain, prompts)
    assert torch.equal(pipeline.generate(cut, prompts, transition="cut"), first)
    other = pipeline.generate(pipeline.open_session(seed=2), prompts)
    assert torch.equal(pipeline.generate(seeded, prompts, transition="cut", seed=2), other)
    assert (cut.generation, seeded.generation) == (0, 1) and not torch.equal(first, other)


def test_depth_may_pause_and_stays_aligned(pipeline: LongLivePipeline) -> None:
    prompts, session = parse_prompts("gold"), pipeline.open_session(seed=1)
    for mode in ("depth", None, "depth"):
        given = {"vace_input": depth(0)} if mode else {}
        pipeline.generate(session, prompts, guidance_mode=mode, **given)
    assert session.control is not None and session.control.chunk == session.chunk == 3


def test_when_a_chunk_is_remembered_changes_nothing(pipeline: LongLivePipeline) -> None:
    """At once, or only when the next chunk of some stream is asked for: in turns with another stream, over a
    prompt switch and a cut."""
    script = [("gold", None), ("gold", None), ("clay", None), ("clay", "cut"), ("clay", None)]

    def outputs(flushes: bool) -> list[torch.Tensor]:
        frames: list[torch.Tensor] = []
        sessions = [pipeline.open_session(seed=seed) for seed in (1, 2)]
        for index, (prompt, transition) in enumerate(script):
            for number, session in enumerate(sessions):
                frames.append(
                    pipeline.generate(
                        session,
                        parse_prompts(prompt),
                        guidance_mode="depth",
                        vace_input=depth(10 * number + index),
                        transition=transition,
                    )
                )
                if flushes:
                    pipeline.flush(session)
        return frames

    at_once, late = outputs(True), outputs(False)
    assert all(torch.equal(one, other) for one, other in zip(at_once, late, strict=True))


def test_law_a_window_recomputed_ahead_makes_the_same_pictures(pipeline: LongLivePipeline) -> None:
    """Bit for bit, while the stream's sink is in the window and after it has left, whether or not the last
    chunk's clean pass has been run."""
    prompts = ["gold", "clay", "clay", "gold", "gold", "gold", "clay", "gold"]

    def outputs(is_ahead: bool) -> list[torch.Tensor]:
        session, frames = pipeline.open_session(seed=1), list[torch.Tensor]()
        for index, prompt in enumerate(map(parse_prompts, prompts)):
            if is_ahead:
                pipeline.recache_ahead(session, prompt)
                pipeline.recache_ahead(session, prompt)
            given = {"guidance_mode": "depth", "vace_input": depth(index)}
            frames.append(pipeline.generate(session, prompt, **given))
            assert session.ahead is None and session.sink_prompts is not None
            if index % 2:
                pipeline.flush(session)
        return frames

    in_time, ahead = outputs(False), outputs(True)
    assert all(torch.equal(one, other) for one, other in zip(in_time, ahead, strict=True))


def test_law_of_a_window_recomputed_in_vain_nothing_is_left(pipeline: LongLivePipeline) -> None:
    """Whatever it was recomputed for: the chunk has other prompts, its old ones, or a blend."""

    def last(ahead: list[str], prompt: str, **how: Any) -> torch.Tensor:
        session = pipeline.open_session(seed=1)
        for index in range(2):
            pipeline.generate(session, parse_prompts("gold"), guidance_mode="depth", vace_input=depth(index))
        for text in ahead:
            pipeline.recache_ahead(session, parse_prompts(text))
        return pipeline.generate(
            session, parse_prompts(prompt), guidance_mode="depth", vace_input=depth(2), **how
        )

    assert torch.equal(last(["clay"], "silver"), last([], "silver"))
    assert torch.equal(last(["clay", "silver"], "clay"), last([], "clay"))
    assert torch.equal(last(["clay"], "gold"), last(["silver"], "gold"))
    blend: dict[str, Any] = {"transition": "blend", "blend_chunks": 2}
    assert torch.equal(last(["clay"], "clay", **blend), last(["silver"], "clay", **blend))
    assert torch.equal(last(["clay"], "gold", transition="cut"), last([], "gold", transition="cut"))
    assert not torch.equal(last([], "gold"), last([], "clay"))


def test_a_stream_that_has_not_begun_has_no_window_to_recompute(pipeline: LongLivePipeline) -> None:
    session = pipeline.open_session(seed=1)
    pipeline.recache_ahead(session, parse_prompts("gold"))
    assert session.ahead is None and session.cache.end == 0


def test_streams_in_turns_equal_the_same_apart_with_clean_passes_put_off(pipeline: LongLivePipeline) -> None:
    """Bit for bit: under other prompts, with other guidance, one of them with references."""
    asked: list[dict[str, Any]] = [
        {"prompts": parse_prompts("gold"), "guidance_mode": "depth"},
        {
            "prompts": parse_prompts("clay"),
            "guidance_mode": "depth+r2v",
            "ref_images": [picture(0)],
            "references_every_chunk": True,
            "vace_context_scale": 0.5,
        },
    ]

    def outputs(order: list[int]) -> list[list[torch.Tensor]]:
        sessions, frames = [pipeline.open_session(seed=seed) for seed in (1, 2)], [[], []]
        for number in order:
            session = sessions[number]
            given = depth(10 * number + session.chunk)
            frames[number].append(pipeline.generate(session, vace_input=given, **asked[number]))
        return frames

    apart, in_turns = outputs([0] * 4 + [1] * 4), outputs([0, 1, 1, 0, 0, 1, 0, 1])
    for alone, beside in zip(apart, in_turns, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))


def test_a_clean_pass_put_off_goes_with_its_stream(
    pipeline: LongLivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped, or begun anew: nobody runs it any more. Another stream's chunk leaves it alone."""
    remembered: list[object] = []
    write = pipeline.passes.write_clean_kv
    monkeypatch.setattr(pipeline.passes, "write_clean_kv", lambda p: remembered.append(p) or write(p))
    prompts = parse_prompts("gold")
    dropped, cut, other = (pipeline.open_session(seed=seed) for seed in range(3))
    for session in (dropped, cut, other):
        pipeline.generate(session, prompts)
    pending = weakref.ref(dropped.pending.chunk) if dropped.pending else None
    assert pending is not None and not remembered
    del dropped, session
    gc.collect()
    assert pending() is None
    pipeline.generate(cut, prompts, transition="cut")
    cut.reset()
    pipeline.flush(cut)
    assert not remembered
    pipeline.flush(other)
    pipeline.flush(other)
    assert len(remembered) == 1


def test_frames_are_handed_out_as_they_are_decoded(pipeline: LongLivePipeline) -> None:
    """A law of the decoder's memory: latent by latent it gives what it gives at once."""
    sessions = [pipeline.open_session(seed=1) for _ in range(2)]
    for index, lengths in enumerate(([1, 4, 4], [4, 4, 4])):
        asked: dict[str, Any] = {"guidance_mode": "depth", "vace_input": depth(index)}
        at_once = pipeline.generate(sessions[0], parse_prompts("gold"), **asked)
        pieces: list[tuple[int, torch.Tensor]] = []

        def take(frames: torch.Tensor, pieces: list[tuple[int, torch.Tensor]] = pieces) -> None:
            pieces.append((sessions[1].chunk, frames))

        whole = pipeline.generate(sessions[1], parse_prompts("gold"), **asked, decoded=take)
        assert [(chunk, len(frames)) for chunk, frames in pieces] == [(index, n) for n in lengths]
        assert torch.equal(torch.cat([frames for _, frames in pieces]), whole)
        torch.testing.assert_close(whole, at_once, atol=1e-5, rtol=0)


def test_of_a_chunk_that_is_not_finite_nothing_is_handed_out(
    pipeline: LongLivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its first two latents are."""
    latents = torch.zeros(1, 3, 16, *pipeline.preset.latent_size)
    latents[:, 2] = float("nan")
    monkeypatch.setattr(pipeline, "_denoise", lambda *_: latents)
    pieces: list[torch.Tensor] = []
    with pytest.raises(GenerationFailed, match="generate gave values that are not finite"):
        pipeline.generate(pipeline.open_session(seed=1), parse_prompts("gold"), decoded=pieces.append)
    assert not pieces


def test_a_dropped_stream_gives_its_cache_to_the_next(pipeline: LongLivePipeline) -> None:
    session, other = pipeline.open_session(seed=1), pipeline.open_session(seed=2)
    cache = session.cache
    assert other.cache is not cache
    del session
    gc.collect()
    assert pipeline.open_session(seed=3).cache is cache


def test_a_pipeline_that_is_dropped_is_freed_with_its_own_stream() -> None:
    """What gives a stream's cache back must not keep the pipeline that keeps the stream."""
    dropped = LongLivePipeline(DOCUMENT, device=CPU, dtype=torch.float32)
    session, gone = weakref.ref(dropped.session), weakref.ref(dropped)
    del dropped
    gc.collect()
    assert gone() is None and session() is None


def test_memory_of_streams_to_come_is_made_ready_while_none_is_open() -> None:
    pipeline = LongLivePipeline(DOCUMENT, device=CPU, dtype=torch.float32)
    assert not pipeline.prepare_session(limit=3), "nothing is recorded here"
    recorded: list[torch.Tensor] = []

    def record(run: Callable[[], torch.Tensor]) -> CapturedGraph:
        recorded.append(run())
        return CapturedGraph(recorded[-1], lambda: None)

    pipeline.passes.capture = record
    session = pipeline.open_session(seed=1)
    pipeline.generate(session, parse_prompts("there is a text to record with"))
    pipeline.flush(session)
    assert not pipeline.prepare_session(limit=3), "a stream is open"
    del session
    gc.collect()
    while pipeline.prepare_session(limit=3):
        pass
    assert len(recorded) == 2 * 2, "two rings more, with and without guidance"
    assert len({pipeline.open_session(seed=n).cache for n in range(2)}) == 1  # one after the other

    def fail(_: object) -> CapturedGraph:
        raise RuntimeError("out of memory")

    pipeline.passes.capture = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        pipeline.prepare_session(limit=4)
    gc.collect()
    assert len(pipeline._caches) == 1, "the first stream has a cache, and what memory there is"


@pytest.mark.parametrize("stage", ["generate", "decode", "clean pass"])
def test_a_chunk_that_dies_half_way_leaves_its_stream_fresh_and_others_alone(
    pipeline: LongLivePipeline, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Its ring would be ahead of it, or remember what is not clean: what a new prompt has recomputed would go
    to the wrong place."""

    def chunk(session: StreamSession, prompt: str) -> torch.Tensor:
        return pipeline.generate(
            session, parse_prompts(prompt), guidance_mode="depth", vace_input=depth(session.chunk)
        )

    def break_off(*_: object) -> None:
        raise RuntimeError("out of memory")

    fresh, other, undisturbed = (pipeline.open_session(seed=seed) for seed in (1, 2, 2))
    expected = [chunk(fresh, "clay") for _ in range(3)]
    calm = [chunk(undisturbed, "gold") for _ in range(3)]
    session = pipeline.open_session(seed=1)
    chunk(session, "gold"), chunk(session, "gold")
    seen = [chunk(other, "gold")]
    if stage == "clean pass":
        chunk(session, "gold")
    with monkeypatch.context() as broken, pytest.raises(RuntimeError, match="out of memory"):
        if stage == "clean pass":
            broken.setattr(pipeline.passes, "write_clean_kv", break_off)
            pipeline.flush(session)
        elif stage == "decode":
            broken.setattr(pipeline.decoder, "decode", break_off)
            chunk(session, "gold")
        else:
            broken.setattr(pipeline.passes, "denoise", break_off)
            chunk(session, "gold")
    assert session.chunk == 0 and session.generation == 1
    found: list[torch.Tensor] = []
    for _ in range(3):
        found.append(chunk(session, "clay"))
        if len(seen) < 3:
            seen.append(chunk(other, "gold"))
    assert all(torch.equal(one, same) for one, same in zip(found, expected, strict=True))
    assert all(torch.equal(one, same) for one, same in zip(seen, calm, strict=True))


def test_pictures_are_scaled_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 a quarter of all grey levels would be off by one."""
    narrow = LongLivePipeline(DOCUMENT, device=CPU, dtype=torch.bfloat16)
    video = (torch.rand(1, 9, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1).bfloat16()
    monkeypatch.setattr(narrow.decoder, "decode", lambda latents, memory: (video, memory))
    frames = narrow("gold")
    expected = (video[0].float() * 0.5 + 0.5).movedim(1, -1)
    assert frames.dtype == torch.float32 and torch.equal(frames, expected)


def test_a_device_may_be_named_and_what_torch_does_not_know_is_told() -> None:
    assert LongLivePipeline(DOCUMENT, device="cpu", dtype=torch.float32).device == CPU
    for name in ("gpu", "", "cpu:x", "cuda:-2"):
        with pytest.raises(
            ConfigError, match=re.escape(f"device: expected one as cpu, cuda or cuda:1, got {name!r}")
        ):
            LongLivePipeline(DOCUMENT, device=name, dtype=torch.float32)
    with pytest.raises(ConfigError, match="dtype: expected one of torch, as torch.bfloat16, got 'float32'"):
        LongLivePipeline(DOCUMENT, device="cpu", dtype="float32")  # pyright: ignore[reportArgumentType]
