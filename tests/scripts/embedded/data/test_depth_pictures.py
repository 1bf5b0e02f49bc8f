"""Laws of the depth net's pictures: there is something to tell depth by, and no two draws are alike."""

import torch

from scripts.embedded.data.depth_pictures import (
    Supply,
    framed,
    largest_surface,
    sample_surfaces,
    unfocused,
    varied,
)
from scripts.embedded.scenes.procedural import Surface, sample_scenes


def test_no_picture_shows_one_bare_surface() -> None:
    chosen, _ = sample_surfaces(8, torch.Generator().manual_seed(4))
    drawn, _ = sample_surfaces(8, torch.Generator().manual_seed(4), telling=False)
    # Chosen by a render of a sixteenth of the pixels: a picture may come out a little barer.
    assert largest_surface(chosen).max() < 0.93
    assert largest_surface(drawn).max() > 0.95
    assert len(chosen.object) == 8


def test_scenes_that_need_not_tell_are_those_of_the_generator() -> None:
    _, found = sample_surfaces(3, torch.Generator().manual_seed(2), telling=False)
    assert torch.equal(found.box, sample_scenes(3, torch.Generator().manual_seed(2), webcam=0.65).box)


def test_largest_surface_is_a_share_of_the_picture() -> None:
    number = torch.tensor([[[[-1, -1, -1, 4], [2, 2, 0, 0]]], [[[3] * 4, [3] * 4]]])
    nothing = torch.zeros(2, 1, 2, 4)
    shape = nothing[:, :, None].expand(-1, -1, 3, -1, -1)
    found = largest_surface(Surface(nothing, shape, number, shape))
    assert found.tolist() == [0.375, 1.0]


def test_a_mirrored_picture_has_mirrored_depth() -> None:
    ramp = torch.linspace(-0.5, 0.5, 16).expand(32, 4, 16)
    pictures, disparity = varied(ramp[:, None].expand(-1, 3, -1, -1), ramp, torch.Generator().manual_seed(0))
    towards = (disparity[:, 0, -1] > disparity[:, 0, 0]).float() * 2 - 1
    assert 4 < (towards < 0).sum() < 28  # some are mirrored, some are not
    slope = pictures[..., 8:].mean((1, 2, 3)) - pictures[..., :8].mean((1, 2, 3))
    assert (slope * towards > 0).all()
    assert pictures.min() >= -1 and pictures.max() <= 1
    assert not torch.equal(pictures[0].sort().values, pictures[1].sort().values)


def test_a_frame_cuts_picture_and_depth_alike() -> None:
    ramp = torch.linspace(-0.8, 0.8, 32) + torch.linspace(-0.1, 0.1, 18)[:, None]
    pictures = ramp.expand(64, 3, -1, -1)
    found, disparity = framed(pictures, pictures[:, 0], torch.Generator().manual_seed(0))
    assert (found[:, 0] - disparity).abs().max() < 0.05  # the nearest pixel is half a pixel off at most
    untouched = (found - pictures).abs().flatten(1).amax(1) < 1e-4
    assert 30 < untouched.sum() < 54
    assert (found[~untouched] != found[~untouched][0]).any()
    same, _ = framed(pictures, pictures[:, 0], torch.Generator().manual_seed(0), share=0)
    torch.testing.assert_close(same, pictures, rtol=0, atol=1e-4)


def test_only_what_is_near_is_out_of_focus() -> None:
    dots = torch.rand(64, 3, 16, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    disparity = torch.full((64, 16, 32), 0.3)
    disparity[..., 16:] = 1.5
    found = unfocused(dots, disparity, torch.Generator().manual_seed(0))
    assert torch.equal(found[..., :16], dots[..., :16])
    is_blurred = (found - dots).abs().flatten(1).amax(1) > 0.1
    assert 4 < is_blurred.sum() < 26
    assert found[is_blurred][..., 17:].std() < 0.9 * dots[is_blurred][..., 17:].std()


def test_supply_shows_each_scene_in_several_photographs() -> None:
    supply = Supply(12, 2, torch.Generator().manual_seed(0))
    pictures, disparity = supply.draw(24)
    same = [
        not torch.equal(a, b)
        for i, (a, da) in enumerate(zip(pictures, disparity, strict=True))
        for b, db in zip(pictures[:i], disparity[:i], strict=True)
        if torch.equal(da, db)
    ]
    assert any(same)  # some depth maps come again in another picture
