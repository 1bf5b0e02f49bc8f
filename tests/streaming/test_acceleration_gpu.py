"""The optimizations on a GPU: the same pictures, passes that are recorded once, products in fp8."""

import pytest
import torch

from streaming.acceleration import Optimizations, accelerate
from streaming.blocks.camera_start import CameraLatents
from streaming.blocks.text_conditioning import parse_prompts
from streaming.controls.control_videos import ControlVideo
from streaming.kernels.attention import can_use_fa3
from streaming.pipeline import LongLivePipeline, Sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),  # compilers' own
]


FP8 = [
    Optimizations(fp8=True, packs=True),
    Optimizations(fp8=True, fuses=True, graphs=True),
    Optimizations(fp8=True, fp8_attention=True, fuses=True, side_stream=True, graphs=True, attention="fa3"),
]
CHUNKS = 8  # the window is full from the third on, and a prompt switch lies behind it


def require(optimizations: Optimizations) -> None:
    if optimizations.attention == "fa3" and not can_use_fa3(torch.device("cuda")):
        pytest.skip("needs fa3-fwd")


def generated(pipeline: LongLivePipeline) -> list[torch.Tensor]:
    """Two streams in turns, the second on a ring of its own."""
    draws, size = torch.Generator().manual_seed(0), (pipeline.preset.height, pipeline.preset.width)
    sessions = [pipeline.open_session(seed=seed) for seed in (0, 1)]
    frames: list[torch.Tensor] = []
    for index in range(CHUNKS):
        depth = torch.rand(1, 1, 12, *size, generator=draws) * 2 - 1
        for session in sessions:
            frames.append(
                pipeline.generate(
                    session,
                    parse_prompts("gold" if index < 5 else "clay"),
                    guidance_mode="depth" if index != 6 else None,
                    vace_input=depth.to(pipeline.device, pipeline.dtype) if index != 6 else None,
                    vace_context_scale=0.5 + 0.1 * index,
                ).float()
            )
            pipeline.flush(session)
    return frames


def guided_by_several(pipeline: LongLivePipeline) -> list[torch.Tensor]:
    """Two streams in turns, with one, two or three control videos, and none."""
    draws, size = torch.Generator().manual_seed(0), (pipeline.preset.height, pipeline.preset.width)
    sessions = [pipeline.open_session(seed=seed) for seed in (0, 1)]
    frames: list[torch.Tensor] = []
    for index in range(CHUNKS):
        pictures = (torch.rand(3, 1, 1, 12, *size, generator=draws) * 2 - 1).to(
            pipeline.device, pipeline.dtype
        )
        for number, session in enumerate(sessions):
            shown = [
                ControlVideo(picture, 0.4 + 0.1 * n) if (index + number) % (n + 2) else None
                for n, picture in enumerate(pictures)
            ]
            is_shown = any(shown)
            frames.append(
                pipeline.generate(
                    session,
                    parse_prompts("gold" if index < 5 else "clay"),
                    guidance_mode="depth" if is_shown else None,
                    vace_input=shown if is_shown else None,
                ).float()
            )
            pipeline.flush(session)
    return frames


def new_pipeline(optimizations: Optimizations, dtype: torch.dtype) -> LongLivePipeline:
    pipeline = LongLivePipeline({}, torch.device("cuda"), dtype)
    accelerate(pipeline, optimizations)
    return pipeline


@pytest.mark.parametrize(
    "optimizations",
    [
        Optimizations(graphs=True),
        Optimizations(compiles=True),
        Optimizations(fuses=True, side_stream=True),
        Optimizations(graphs=True, compiles=True, fuses=True, side_stream=True, attention="cudnn"),
    ],
)
def test_optimizations_leave_the_pictures_alone(optimizations: Optimizations) -> None:
    wanted = generated(new_pipeline(Optimizations(), torch.float32))
    pipeline = new_pipeline(optimizations, torch.float32)
    for got, want in zip(generated(pipeline), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=5e-3, rtol=0)
    if optimizations.graphs:
        kept = pipeline.passes._graphs
        generated(pipeline)  # later streams: on the rings of the first
        assert len(kept) == 2 and all(len(recordings) == 2 for recordings in kept.values())


@pytest.mark.parametrize(
    "optimizations",
    [
        Optimizations(graphs=True),
        Optimizations(fuses=True, side_stream=True),
        Optimizations(graphs=True, compiles=True, fuses=True, side_stream=True, attention="cudnn"),
    ],
)
def test_optimizations_leave_the_pictures_of_several_controls_alone(optimizations: Optimizations) -> None:
    wanted = guided_by_several(new_pipeline(Optimizations(), torch.float32))
    pipeline = new_pipeline(optimizations, torch.float32)
    for got, want in zip(guided_by_several(pipeline), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=5e-3, rtol=0)


def from_the_camera(pipeline: LongLivePipeline) -> list[torch.Tensor]:
    """A stream whose noise scale goes to and fro, and so the number of its passes."""
    draws, size = torch.Generator().manual_seed(0), (pipeline.preset.height, pipeline.preset.width)
    session, frames = pipeline.open_session(seed=0), list[torch.Tensor]()
    for index in range(CHUNKS):
        camera = (torch.rand(1, 3, 12, *size, generator=draws) * 2 - 1).to(pipeline.device, pipeline.dtype)
        start = CameraLatents(camera, (0.9, 0.6, 0.8)[index % 3], "exact") if index % 4 else None
        frames.append(
            pipeline.generate(
                session,
                parse_prompts("gold"),
                guidance_mode="depth",
                vace_input=camera[:, :1],
                sampling=Sampling(start=start),
            ).float()
        )
    return frames


@pytest.mark.parametrize(
    "optimizations",
    [
        Optimizations(graphs=True),
        Optimizations(graphs=True, compiles=True, fuses=True, side_stream=True, attention="cudnn"),
    ],
)
def test_optimizations_leave_a_start_from_the_camera_alone_and_record_no_more(
    optimizations: Optimizations,
) -> None:
    wanted = from_the_camera(new_pipeline(Optimizations(), torch.float32))
    pipeline = new_pipeline(optimizations, torch.float32)
    for got, want in zip(from_the_camera(pipeline), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=5e-3, rtol=0)
    assert [len(recordings) for recordings in pipeline.passes._graphs.values()] == [2]


@pytest.mark.parametrize("optimizations", FP8)
def test_several_controls_in_fp8_are_close_to_bfloat16(optimizations: Optimizations) -> None:
    require(optimizations)
    wanted = guided_by_several(new_pipeline(Optimizations(), torch.bfloat16))
    got = guided_by_several(new_pipeline(optimizations, torch.bfloat16))
    assert all(torch.isfinite(frame).all() for frame in got)
    assert (got[0] - wanted[0]).square().mean() < 1e-2


def test_streams_on_prepared_rings_record_nothing() -> None:
    optimizations = Optimizations(graphs=True, fuses=True, side_stream=True)
    wanted = generated(new_pipeline(optimizations, torch.float32))
    pipeline = new_pipeline(optimizations, torch.float32)
    pipeline.generate(pipeline.open_session(seed=9), parse_prompts("there is a text to record with"))
    while pipeline.prepare_session(limit=3):
        pass
    recorded = {id(made) for both in pipeline.passes._graphs.values() for made in both.values()}
    assert len(recorded) == 4
    for got, want in zip(generated(pipeline), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    assert recorded == {id(made) for both in pipeline.passes._graphs.values() for made in both.values()}


@pytest.mark.parametrize("optimizations", FP8)
def test_fp8_is_close_to_bfloat16(optimizations: Optimizations) -> None:
    require(optimizations)
    wanted = generated(new_pipeline(Optimizations(), torch.bfloat16))
    got = generated(new_pipeline(optimizations, torch.bfloat16))
    assert all(torch.isfinite(frame).all() for frame in got)
    assert (got[0] - wanted[0]).square().mean() < 1e-2
