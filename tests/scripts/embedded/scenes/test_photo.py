"""Laws of the camera-like pictures: shape and range, no two alike, the same from the same seed."""

import pytest
import torch
from torch import Tensor

from scripts.embedded.scenes.faces import Expressions
from scripts.embedded.scenes.photo import photograph
from scripts.embedded.scenes.procedural import Scenes, Surface, inverse_depth, render, sample_scenes


def shot(seed: int, scenes: int = 6) -> tuple[Surface, Scenes]:
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_scenes(scenes, generator)
    times = torch.rand(scenes, 2, generator=generator) * 5
    return render(drawn, times, height=32, width=64), drawn


def pictures(surface: Surface, scenes: Scenes, seed: int, shrink: int = 2) -> Tensor:
    return photograph(surface, scenes, torch.Generator().manual_seed(seed), shrink=shrink)


@pytest.mark.parametrize("shrink", [1, 2])
def test_pictures_are_finite_rgb_of_the_asked_size(shrink: int) -> None:
    found = pictures(*shot(0), 1, shrink)
    assert found.shape == (6, 2, 3, 32 // shrink, 64 // shrink) and found.dtype == torch.float32
    assert found.isfinite().all() and found.min() >= -1 and found.max() <= 1


def test_seed_decides_everything() -> None:
    surface, scenes = shot(0)
    assert torch.equal(pictures(surface, scenes, 3), pictures(surface, scenes, 3))
    changed = (pictures(surface, scenes, 3) - pictures(surface, scenes, 4)).abs().mean((1, 2, 3, 4))
    assert (changed > 0.02).all()  # the same scene, another photograph


def test_pictures_show_something() -> None:
    spread = pictures(*shot(1, 24), 2).flatten(1).std(1)
    assert spread.median() > 0.2


def test_brightness_does_not_give_depth_away() -> None:
    surface, scenes = shot(2, 48)
    grey = pictures(surface, scenes, 5, shrink=1).mean(2).flatten(1)
    near = inverse_depth(surface).flatten(1)
    r = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(grey, near, strict=True)])
    assert r.nanmean().abs() < 0.25 and (r > 0.3).any() and (r < -0.3).any()


def test_face_paint_moves_with_the_head() -> None:
    """Dark spots of eyes and brows lie on the head, above its middle: found without knowing the paint."""
    generator = torch.Generator().manual_seed(8)
    scenes = sample_scenes(24, generator, webcam=1.0, still=1.0)
    surface = render(scenes, torch.zeros(24, 1), height=72, width=128)
    picture = photograph(surface, scenes, generator, compress=False).mean(2)
    at = surface.local / scenes.ellipsoid[:, 0, 3:, None, None][:, None]
    front = (surface.object == 0) & (at[:, :, 2] < -0.6)
    eyes = front & ((at[:, :, 0].abs() - 0.38).abs() < 0.08) & ((at[:, :, 1] + 0.1).abs() < 0.08)
    cheeks = front & ((at[:, :, 0].abs() - 0.4).abs() < 0.1) & ((at[:, :, 1] - 0.25).abs() < 0.08)
    seen = (eyes.sum((1, 2, 3)) > 2) & (cheeks.sum((1, 2, 3)) > 2)
    assert seen.sum() > 6

    def mean(mask: Tensor) -> Tensor:
        return (picture * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)

    assert (mean(eyes) < mean(cheeks))[seen].float().mean() > 0.6


def test_a_face_that_speaks_changes_itself_and_nothing_around_it() -> None:
    generator = torch.Generator().manual_seed(8)
    scenes = sample_scenes(6, generator, webcam=1.0, still=1.0)
    surface = render(scenes, torch.zeros(6, 1), height=72, width=128)

    def picture(mouth: float) -> Tensor:
        doing = Expressions(torch.full((6, 1), mouth), torch.ones(6, 1))
        light = torch.Generator().manual_seed(9)
        return photograph(surface, scenes, light, compress=False, expressions=doing)[:, 0].mean(1)

    change = (picture(1.0) - picture(0.0)).abs() > 0.1
    is_face = surface.object[:, 0] <= 1
    assert change[is_face].any() and not change[:, :8].any()
    assert change.float().mean() < 0.05
