"""Smoothing quietens depth along the motion of the picture and smears nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.depth.smoothing import half_res_luma, smooth

COUNT, HEIGHT, WIDTH, RADIUS = 24, 72, 128, 20


def texture(generator: torch.Generator, width: int) -> Tensor:
    coarse = torch.randn(1, 1, HEIGHT // 6, width // 6, generator=generator)
    return F.interpolate(coarse, (HEIGHT, width), mode="bicubic")[0, 0] * 0.25


def moving_disc(speed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames (T, 3, H, W), true depth, depth with noise, and where the disc is, (T, H, W) each."""
    generator = torch.Generator().manual_seed(0)
    wall, skin = texture(generator, WIDTH), texture(generator, 2 * WIDTH)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    inside = torch.stack([(x - 30 - speed * t) ** 2 + (y - 36) ** 2 < RADIUS**2 for t in range(COUNT)])
    skins = torch.stack([skin[:, WIDTH - speed * t : 2 * WIDTH - speed * t] for t in range(COUNT)])
    pictures = torch.where(inside, skins + 0.2, wall - 0.2)
    pictures = pictures + 0.01 * torch.randn(pictures.shape, generator=generator)
    depth = torch.where(inside, 0.8, -0.8 + 0.6 * y / HEIGHT)
    depth = F.avg_pool2d(depth[:, None], 5, 1, 2, count_include_pad=False)[:, 0]  # as soft as networks are
    noise = torch.randn(1, COUNT, HEIGHT // 12, WIDTH // 12, generator=generator)
    noisy = depth + 0.1 * F.interpolate(noise, (HEIGHT, WIDTH), mode="bilinear")[0]
    return pictures[:, None].expand(-1, 3, -1, -1).clamp(-1, 1), depth, noisy, inside


def run(frames: Tensor, depth: Tensor, strength: float = 1.0, gain: float = 1.0) -> Tensor:
    pictures, ones = half_res_luma(frames), torch.ones(len(frames))
    strengths = torch.full((len(frames),), strength)
    return smooth(depth, pictures, gain * ones, 0 * ones, depth[0], pictures[0], strengths)


def zones(inside: Tensor) -> dict[str, Tensor]:
    """The disc's middle, what is within six pixels of its edge, and the wall."""
    wide = F.max_pool2d(inside.float()[:, None], 13, 1, 6)[:, 0] > 0
    narrow = F.max_pool2d((~inside).float()[:, None], 13, 1, 6)[:, 0] == 0
    return {"disc": narrow, "edge": wide & ~narrow, "wall": ~wide}


def errors(found: Tensor, true: Tensor, inside: Tensor) -> dict[str, float]:
    error = (found - true)[8:].square()
    return {name: error[zone[8:]].mean().sqrt().item() for name, zone in zones(inside).items()}


@pytest.mark.parametrize("speed", [0, 1, 3])
def test_noise_falls_on_what_is_still_and_on_what_moves(speed: int) -> None:
    frames, true, noisy, inside = moving_disc(speed)
    before, after = errors(noisy, true, inside), errors(run(frames, noisy), true, inside)
    assert after["wall"] < 0.4 * before["wall"]
    assert after["disc"] < 0.85 * before["disc"]
    assert after["edge"] < before["edge"]


def test_exact_depth_of_a_moving_thing_is_not_smeared() -> None:
    frames, true, _, inside = moving_disc(3)
    average = true.clone()  # what a plain average over time would do
    for t in range(1, COUNT):
        average[t] = 0.1 * true[t] + 0.9 * average[t - 1]
    plain, found = errors(average, true, inside), errors(run(frames, true), true, inside)
    for zone in ("disc", "edge"):
        assert found[zone] < 0.1 * plain[zone]
    assert found["wall"] < 0.02


def test_strength_0_changes_nothing() -> None:
    frames, _, noisy, _ = moving_disc(1)
    assert torch.equal(run(frames, noisy, strength=0.0), noisy)


def test_what_is_new_in_the_picture_takes_its_own_depth() -> None:
    frames, _, noisy, _ = moving_disc(0)
    frames = frames.clone()
    frames[12:] = frames[12:].flip(-1)  # another picture
    found = run(frames, noisy)
    assert (found[12] - noisy[12]).abs().mean() < 0.25 * (found[11] - noisy[12]).abs().mean()


def test_brightness_that_is_made_up_for_is_no_motion() -> None:
    frames, _, noisy, _ = moving_disc(0)
    known = run(frames, noisy)
    darker = frames.clone()
    darker[1::2] *= 0.8
    pictures, strengths = half_res_luma(darker), torch.ones(COUNT)
    gain = torch.where(torch.arange(COUNT) % 2 == 1, 1 / 0.8, 0.8)
    gain[0] = 1
    found = smooth(noisy, pictures, gain, torch.zeros(COUNT), noisy[0], pictures[0], strengths)
    assert (found - known).abs().mean() < 0.01


def test_cut_in_pieces_it_is_the_same() -> None:
    frames, _, noisy, _ = moving_disc(2)
    pictures, ones = half_res_luma(frames), torch.ones(COUNT)
    together = run(frames, noisy)
    before, picture, parts = noisy[0], pictures[0], []
    for start, end in ((0, 9), (9, 10), (10, 24)):
        part = smooth(
            noisy[start:end],
            pictures[start:end],
            ones[start:end],
            0 * ones[start:end],
            before,
            picture,
            ones[start:end],
        )
        before, picture = part[-1], pictures[end - 1]
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), together, atol=1e-5, rtol=0)


def test_it_is_causal() -> None:
    frames, _, noisy, _ = moving_disc(2)
    changed, other = noisy.clone(), frames.clone()
    changed[15:], other[15:] = 0, 0
    torch.testing.assert_close(run(other, changed)[:15], run(frames, noisy)[:15], atol=1e-5, rtol=0)


def test_pictures_too_small_for_flow_are_smoothed_where_they_are() -> None:
    frames, depth = torch.zeros(3, 3, 6, 8), torch.rand(3, 6, 8)
    assert run(frames, depth).var(0).mean() < depth.var(0).mean()
