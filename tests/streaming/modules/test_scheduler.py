import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming.modules.scheduler import FlowMatchSchedule, add_noise, x0_from_flow


def test_the_distilled_steps() -> None:
    """Feeding the nominal 750 instead of 937.5 runs, looks plausible and is off the distillation."""
    warped = FlowMatchSchedule(shift=5.0).warp([1000, 750, 500, 250])
    torch.testing.assert_close(warped, torch.tensor([1000.0, 937.5, 833.33331, 625.0]))


@given(st.floats(0.01, 1.0))
def test_noise_and_flow_invert_each_other(sigma: float) -> None:
    x0, noise = torch.randn(2, 3, 4).unbind()
    xt = add_noise(x0, noise, sigma)
    torch.testing.assert_close(x0_from_flow(noise - x0, xt, sigma), x0, atol=1e-5, rtol=1e-4)


def test_noise_is_added_with_one_rounding() -> None:
    """As with a sigma in a float32 tensor, which is how upstream has it; a number alone would stay low."""
    x0, noise = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    sigma = 0.9375
    expected = (1 - torch.full((64, 64), sigma)) * x0 + torch.full((64, 64), sigma) * noise
    assert torch.equal(add_noise(x0, noise, sigma), expected.bfloat16())


def test_x0_keeps_its_detail_in_bfloat16() -> None:
    """At sigma near 1 the subtraction is done wide and rounded once."""
    xt, flow = torch.randn(2, 1000).bfloat16().unbind()
    exact = xt.double() - 0.9375 * flow.double()
    assert torch.equal(x0_from_flow(flow, xt, 0.9375), exact.bfloat16())


def test_sigma_is_that_of_the_nearest_entry() -> None:
    schedule = FlowMatchSchedule(shift=5.0)
    ids = torch.tensor([[0, 17], [500, 999]])
    assert torch.equal(schedule.timestep_ids(schedule.timesteps[ids] + 1e-3), ids)
    assert torch.equal(schedule.sigma(schedule.timesteps[ids]), schedule.sigmas[ids])
