"""Less noise and fewer steps, and a scale that follows the camera."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from streaming.api import CameraStart
from streaming.blocks.camera_start import MotionNoise
from streaming.blocks.control_encoders import ControlEncoderState
from streaming.blocks.denoise import Denoiser
from streaming.blocks.vace_encoding import VaceEncodingBlock
from streaming.config import SamplerConfig
from streaming.modules.scheduler import FlowMatchSchedule, add_noise
from tests.streaming.blocks.test_vace_encoding import chunks, clip, close, make_block

MOVING = CameraStart(0.7, follows_motion=True)


@pytest.fixture(scope="module", params=["wan", "taehv"])
def block(request: pytest.FixtureRequest) -> VaceEncodingBlock:
    return make_block(request.param)


def encoded(
    block: VaceEncodingBlock, parts: list[Tensor | None]
) -> tuple[list[Tensor | None], ControlEncoderState]:
    state, found = ControlEncoderState(), []
    for chunk, part in enumerate(parts):
        latents, state = block.encode_camera(part, state, chunk=chunk)
        found.append(latents)
    return found, state


def test_camera_latents_of_a_stream_equal_one_offline_encode(block: VaceEncodingBlock) -> None:
    video = clip(3, 33)
    found, _ = encoded(block, list(chunks(video)))
    latents = [each for each in found if each is not None]
    close(torch.cat(latents, dim=1), block.autoencoder.encode(video.transpose(1, 2), None)[0])


def test_camera_latents_after_a_pause_are_those_of_a_video_that_was_grey_meanwhile(
    block: VaceEncodingBlock,
) -> None:
    first, second, third = chunks(clip(3, 33))
    for parts in ([None, second, third], [first, None, third]):
        found, _ = encoded(block, parts)
        grey = torch.cat(
            [torch.zeros_like(whole) if part is None else part
             for part, whole in zip(parts, (first, second, third), strict=True)],
            dim=2,
        )  # fmt: skip
        assert found[2] is not None
        close(found[2], block.autoencoder.encode(grey.transpose(1, 2), None)[0][:, 6:])


def test_a_camera_that_nothing_starts_from_costs_nothing(block: VaceEncodingBlock) -> None:
    assert encoded(block, [None, None]) == ([None, None], ControlEncoderState())


@pytest.mark.parametrize(
    ("video", "named"),
    [
        (clip(3, 10), "Expected 12 camera frames .* got 10 frames"),
        (clip(3, 9) * float("nan"), "finite camera values"),
        (clip(3, 9)[..., 2:], "Camera resolution 16x30"),
        (clip(2, 9), "Expected camera of shape"),
    ],
)
def test_a_camera_that_does_not_fit_is_named(block: VaceEncodingBlock, video: Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        block.encode_camera(video, ControlEncoderState(), chunk=0)


@pytest.mark.parametrize(
    ("noise_scale", "sigmas"),
    [
        (1.0, [1.0, 0.9375, 0.8333333, 0.625]),
        (0.95, [0.95, 0.9375, 0.8333333, 0.625]),
        (0.9375, [0.9375, 0.8333333, 0.625]),
        (0.8, [0.8, 0.625]),
        (0.6, [0.6]),
        (0.01, [0.01]),
    ],
)
def test_steps_above_the_noise_scale_are_dropped_and_the_first_is_at_it(
    noise_scale: float, sigmas: list[float]
) -> None:
    cut = Denoiser(SamplerConfig()).from_camera(noise_scale, "exact")
    assert cut.sigmas[0] == noise_scale and cut.timesteps[0] == 1000 * noise_scale
    assert cut.sigmas == pytest.approx(sigmas)
    assert cut.timesteps == pytest.approx([1000 * sigma for sigma in sigmas], rel=1e-5)


def test_a_perfect_model_gives_the_camera_back_from_any_start() -> None:
    """What the passes are told of the noise is what there is: else the estimate of the first is off."""
    camera, noise = torch.randn(2, 1, 3, 4, 2, 2).unbind()
    for noise_scale in (0.95, 0.8, 0.3):
        cut = Denoiser(SamplerConfig()).from_camera(noise_scale, "exact")
        start = add_noise(camera, noise, noise_scale)
        for step in cut(lambda xt, _t, sigma: (xt - camera) / sigma, start, lambda: torch.randn_like(camera)):
            torch.testing.assert_close(step.x0, camera, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("noise_scale", [0.9, 0.8, 0.7, 0.29])
@pytest.mark.parametrize("warped", [True, False])
def test_the_published_formula_is_that_of_stream_diffusion_v2(noise_scale: float, warped: bool) -> None:
    """Written down here as published: the first entry of the list is overwritten, the sigma looked up in the
    schedule's table."""
    config = SamplerConfig(denoising_step_list=(700, 500), warp_denoising_step=warped)
    steps = torch.tensor(Denoiser(config).timesteps)
    steps[0] = int(1000 * noise_scale) - 100
    table = FlowMatchSchedule(shift=config.timestep_shift)
    wanted = [table.sigmas[(table.timesteps - step).abs().argmin()].item() for step in steps]
    cut = Denoiser(config).from_camera(noise_scale, "published")
    assert cut.timesteps == tuple(steps.tolist()) and cut.sigmas == pytest.approx(wanted, abs=0)


def published_control(video: Tensor, scale: float) -> float:
    """`video` (1, 3, 1 + T, H, W), the frame before a chunk first."""
    change = (video[:, :, 1:] - video[:, :, :-1]) ** 2
    largest = (torch.sqrt(change.mean(dim=(0, 1, 3, 4))).max() / 0.2).clamp(0, 1).item()
    return (0.8 - 0.2 * largest) * 0.9 + scale * 0.1


@pytest.mark.parametrize("contrast", [0.0, 0.1, 0.4, 1.0])
def test_the_scale_follows_motion_by_the_published_control_from_chunk_to_chunk(contrast: float) -> None:
    camera = contrast * (torch.rand(1, 3, 33, 6, 8, generator=torch.Generator().manual_seed(0)) - 0.5)
    noise, scale, begin = MotionNoise(), MOVING.noise_scale, 0
    for count in (9, 12, 12):
        noise = noise.follow(MOVING, camera[0, :, begin : begin + count].movedim(1, 0))
        scale = published_control(camera[:, :, max(0, begin - 1) : begin + count], scale)
        assert noise.scale == pytest.approx(scale)
        begin += count


def test_the_more_motion_the_less_noise_and_a_jump_between_chunks_is_motion() -> None:
    still = torch.zeros(12, 3, 6, 8)
    levels = torch.linspace(0, 1, 12)[:, None, None, None]
    scales = [MotionNoise().follow(MOVING, still + gain * levels).scale for gain in (0.0, 0.5, 1.0, 5.0)]
    assert all(less < more for more, less in pairwise(scales))
    before = MotionNoise().follow(MOVING, still)
    assert before.follow(MOVING, still + 0.5).scale < before.follow(MOVING, still).scale


def test_without_motion_control_the_scale_is_what_was_asked_for() -> None:
    moving = torch.rand(12, 3, 6, 8)
    noise = MotionNoise().follow(MOVING, moving)
    assert noise.follow(CameraStart(0.6), moving).scale == 0.6
    again = noise.follow(CameraStart(0.9, follows_motion=True), moving)
    assert again.scale > noise.follow(MOVING, moving).scale, "a new scale begins anew"
