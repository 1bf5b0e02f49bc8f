"""Laws of the one training loop, on a network of a few numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scripts.embedded.optimizers import Optimizers
from scripts.embedded.training import Budget, Ema, Run, Stage, train
from scripts.embedded.world import World

ALONE = World(0, 1, torch.device("cpu"))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def optimizers_of(model: nn.Module) -> Optimizers:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    return Optimizers(model.parameters(), matrices, muon_rate=0.1, adam_rate=0.1, adam_decay=0.0)


def stage(
    model: nn.Module,
    *,
    before: int = 0,
    save: Callable[[int], None] = lambda at: None,
    optimizers: Optimizers | None = None,
) -> Stage:
    """Learns to give one; its figure `number` is 0, 1, 2 ..."""

    def step(number: int) -> tuple[Tensor, ...]:
        drawn = torch.randn(8, 3, generator=torch.Generator().manual_seed(before + number))
        (model(drawn) - 1).square().mean().backward()
        return (torch.tensor(float(number)),)

    return Stage(
        name="tiny",
        model=model,
        ema=Ema(model, 0.999),
        before=before,
        optimizers=optimizers or optimizers_of(model),
        step=step,
        figures=("number",),
        rate=lambda budget: 1.0,
        save=save,
        report_every=2,
        save_every=3,
        more=lambda: {"more": 7.0},
    )


def run(out: Path, steps: int) -> Run:
    return Run(out=out, world=ALONE, steps=steps)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_reports_hold_means_since_the_last_one_and_the_end_is_marked(tmp_path: Path) -> None:
    train(stage(network(), before=100), run(tmp_path, 5))
    lines = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text().splitlines()]
    assert [(line["step"], line["number"], line["more"]) for line in lines] == [
        (102, 0.5, 7),
        (104, 2.5, 7),
        (105, 4, 7),
    ]
    assert [line.get("done") for line in lines] == [None, None, "yes"]


def test_checkpoints_are_saved_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    saved: list[int] = []
    train(stage(network(), before=10, save=saved.append), run(tmp_path, 7))
    assert saved == [13, 16, 17]


def test_gradients_of_one_step_do_not_reach_the_next(tmp_path: Path) -> None:
    once = network()
    train(stage(once), run(tmp_path, 2))
    apart = network()
    optimizers = optimizers_of(apart)
    for number in range(2):
        train(stage(apart, before=number, optimizers=optimizers), run(tmp_path, 1))
    torch.testing.assert_close(weights(once), weights(apart))


def test_a_run_that_goes_on_equals_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = network()
    train(stage(whole), run(tmp_path, 4))
    begun = network()
    first = optimizers_of(begun)
    train(stage(begun, optimizers=first), run(tmp_path, 2))
    resumed = network()
    resumed.load_state_dict(begun.state_dict())
    second = optimizers_of(resumed)
    second.load({name: value.clone() for name, value in first.state().items()})
    train(stage(resumed, before=2, optimizers=second), run(tmp_path, 2))
    torch.testing.assert_close(weights(resumed), weights(whole))


def test_the_average_that_a_run_goes_on_from_is_not_forgotten(tmp_path: Path) -> None:
    model = network()
    going_on = stage(model, before=10_000)
    begun = weights(model)
    train(going_on, run(tmp_path, 3))
    average = torch.cat([value.flatten() for value in going_on.ema.average.values()])
    assert (average - begun).norm() < 0.01 * (weights(model) - begun).norm()


def test_moments_have_the_names_that_checkpoints_are_kept_under(tmp_path: Path) -> None:
    """Whoever has trained can go on: checkpoints of before hold muon.N and adam.N.KEY."""
    model = network()
    optimizers = optimizers_of(model)
    train(stage(model, optimizers=optimizers), run(tmp_path, 1))
    kinds = {name for n in (0, 1) for name in (f"muon.{n}", *(f"adam.{n}.{k}" for k in KEYS))}
    assert set(optimizers.state()) == kinds
    optimizers_of(model).load({})  # of a checkpoint without any


KEYS = ("step", "exp_avg", "exp_avg_sq")


@pytest.mark.parametrize(("share", "rate"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_a_cosine_rate_falls_from_one_to_zero(share: float, rate: float) -> None:
    budget = Budget(steps=None, minutes=None, step=10, share=share)
    assert budget.cosine_rate(warm_up=5) == pytest.approx(rate)
    budget.step = 0
    assert budget.cosine_rate(warm_up=5) == pytest.approx(rate / 5)
