"""Laws of the training clips: what an estimator's waves and the strength of guidance do to the depth that is
painted."""

import torch

from scripts.embedded.data.clips import followed, pulled, uneven


def depth() -> torch.Tensor:
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 2, 48, 64).clone()
    ramp[..., 16:32, 20:40] = 0.9
    return ramp


def at(scale: float) -> torch.Tensor:
    return followed(depth(), torch.tensor([scale]))


def test_strength_one_follows_the_depth_as_it_is() -> None:
    torch.testing.assert_close(at(1.0), depth())


def test_less_strength_is_softer_and_more_has_more_contrast() -> None:
    def steepest(x: torch.Tensor) -> float:
        return (x[..., 1:] - x[..., :-1]).abs().max().item()

    assert steepest(at(0.5)) < 0.5 * steepest(at(0.75)) < steepest(at(1.0))
    torch.testing.assert_close(at(0.0), at(0.5))  # none is not seen at all, so as soft as it gets
    spread = [(x.max() - x.min()).item() for x in (at(1.0), at(1.25), at(1.5))]
    assert spread[0] < spread[1] < spread[2] <= 1
    assert ((at(1.5) - 0.5) * (depth() - 0.5) >= 0).all()  # what is nearer than the middle stays so


def test_strength_changes_the_depth_without_jumps() -> None:
    strengths = torch.linspace(0, 1.5, 31).tolist()
    steps = [(at(b) - at(a)).abs().max().item() for a, b in zip(strengths, strengths[1:], strict=False)]
    assert max(steps) < 0.08


def test_an_estimators_waves_stay_and_leave_half_of_the_clips_alone() -> None:
    flat = torch.full((64, 3, 48, 64), 0.5)
    waves = uneven(flat, torch.Generator().manual_seed(0)) - flat
    assert torch.equal(waves, waves[:, :1].expand_as(waves)), "they neither move nor flicker"
    has_waves = waves.flatten(1).abs().amax(1) > 0
    assert 0.3 < has_waves.float().mean() < 0.7
    assert 0.005 < waves.abs().max() < 0.1
    assert (uneven(depth() * 1.1, torch.Generator().manual_seed(0)) <= 1).all()


def test_who_starts_from_the_camera_keeps_its_lines_and_takes_its_wide_colours() -> None:
    stripes = (torch.arange(64) // 2 % 2).float().mul(0.4).sub(0.2).expand(2, 1, 3, 48, 64)
    red = torch.tensor([0.6, -0.6, -0.6]).view(1, 1, 3, 1, 1).expand_as(stripes)
    plain, started = pulled(stripes, red, [1.0, 0.6])
    assert torch.equal(plain, stripes[0])
    colour = started.mean((0, 2, 3))
    torch.testing.assert_close(colour, torch.tensor([0.3, -0.3, -0.3]), atol=0.02, rtol=0)
    lines = started - colour.view(1, 3, 1, 1)
    torch.testing.assert_close(lines[..., 16:48], stripes[1, ..., 16:48], atol=0.03, rtol=0)
