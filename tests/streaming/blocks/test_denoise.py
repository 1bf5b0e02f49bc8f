import pytest
import torch

from streaming.blocks.denoise import Denoiser
from streaming.config import ConfigError, SamplerConfig


def test_a_perfect_model_is_left_alone_by_every_step() -> None:
    """If the flow is noise - x0 of what was asked, every step's clean estimate is x0, whatever the noise."""
    x0 = torch.randn(1, 3, 4, 2, 2)
    denoise = Denoiser(SamplerConfig())
    sigmas = dict(zip(denoise.timesteps, denoise.sigmas, strict=True))
    steps = list(
        denoise(
            lambda xt, t, _sigma: (xt - x0) / sigmas[t], torch.randn_like(x0), lambda: torch.randn_like(x0)
        )
    )
    assert [step.timestep for step in steps] == pytest.approx([1000, 937.5, 833.3333, 625])
    for step in steps:
        torch.testing.assert_close(step.x0, x0, atol=1e-5, rtol=1e-4)


def test_noise_is_fresh_between_steps_and_never_added_after_the_last() -> None:
    drawn: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []

    def fresh() -> torch.Tensor:
        drawn.append(torch.randn(1, 3, 4, 2, 2))
        return drawn[-1]

    def predict(xt: torch.Tensor, _timestep: float, _sigma: float) -> torch.Tensor:
        seen.append(xt)
        return xt  # x0 = (1 - sigma) xt

    denoise = Denoiser(SamplerConfig(denoising_step_list=(1000, 500, 250)))
    noise = torch.randn(1, 3, 4, 2, 2)
    *_, last = denoise(predict, noise, fresh)
    assert len(drawn) == 2 and seen[0] is noise
    for index, eps in enumerate(drawn, start=1):
        before = (1 - denoise.sigmas[index - 1]) * seen[index - 1]
        want = (1 - denoise.sigmas[index]) * before + denoise.sigmas[index] * eps
        torch.testing.assert_close(seen[index], want)
    torch.testing.assert_close(last.x0, (1 - denoise.sigmas[-1]) * seen[-1])


def test_nominal_steps_are_warped_unless_told() -> None:
    plain = Denoiser(SamplerConfig(denoising_step_list=(1000, 750), warp_denoising_step=False))
    assert plain.timesteps == (1000.0, 750.0)
    assert plain.sigmas[1] == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("steps", [(), (750, 1000), (1000, 1000), (1001,), (0,)])
def test_a_bad_step_list_is_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="denoising_step_list must fall"):
        SamplerConfig(denoising_step_list=steps)
