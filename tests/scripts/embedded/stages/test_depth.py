"""Laws of the depth net's training: it can learn, its loss forgives scale and shift, and its files serve."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scripts.embedded import optimizers
from scripts.embedded.checkpoints import save_checkpoint
from scripts.embedded.data import depth_pictures
from scripts.embedded.data.depth_pictures import HEIGHT, WIDTH, photographs, sample_surfaces
from scripts.embedded.stages import depth
from scripts.embedded.stages.depth import (
    build_depth_net,
    evaluate_depth,
    save_depth_net,
    train_depth,
)
from scripts.embedded.stages.depth_loss import correlation, depth_loss, disparity_target
from scripts.embedded.training import Run
from scripts.embedded.world import World
from streaming.depth.estimators import TransformersDepth

ALONE = World(0, 1, torch.device("cpu"))
SMALL = {"batch": 2, "pool": 12}


FEW = 3


@pytest.fixture
def rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same few pictures for all that asks for as many, and no more than FEW: they have tests of their
    own."""
    kept: dict[Any, Any] = {}

    def once(make: Callable[..., Any]) -> Callable[..., Any]:
        def known(first: Any, *given: Any, **options: Any) -> Any:
            if isinstance(first, int):  # how many; or else the surface
                first = min(first, FEW)
            key = (make.__name__, first if isinstance(first, int) else id(first), *options.items())
            if key not in kept:
                kept[key] = make(first, *given, **options)
            return kept[key]

        return known

    for module in (depth_pictures, depth):
        monkeypatch.setattr(module, "sample_surfaces", once(sample_surfaces))
        monkeypatch.setattr(module, "photographs", once(photographs))


def test_fresh_net_answers_above_zero_everywhere_and_differs_by_picture() -> None:
    """A last ReLU that starts dead never learns; a signal that fades on the way hardly does."""
    torch.manual_seed(0)
    model, _ = build_depth_net()
    with torch.no_grad():
        found = model(pixel_values=torch.rand(4, 3, HEIGHT, WIDTH) * 2 - 1).predicted_depth
    assert found.shape == (4, HEIGHT, WIDTH)
    assert (found > 0).float().mean() > 0.95
    assert found.std(0).mean() > 0.01


def test_every_weight_that_is_used_gets_a_gradient() -> None:
    model, _ = build_depth_net()
    found = model(pixel_values=torch.rand(2, 3, HEIGHT, WIDTH)).predicted_depth
    sum(depth_loss(found, torch.rand(2, HEIGHT, WIDTH))).backward()  # type: ignore[union-attr]
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    # The coarsest fusion has nothing to add; the library keeps the layer all the same.
    assert all(name.startswith("neck.fusion_stage.layers.0.residual_layer1") for name in idle)


def test_loss_forgives_scale_and_shift_and_finds_the_wrong_way_round() -> None:
    disparity = torch.rand(3, 24, 32) + torch.linspace(0, 2, 32)
    right, _ = depth_loss(5 + 3 * disparity_target(disparity), disparity)
    wrong, _ = depth_loss(5 - 3 * disparity_target(disparity), disparity)
    assert right < 0.02 and wrong > 1
    _, pull = depth_loss(disparity_target(disparity), disparity)
    assert pull == 0


def test_correlation_is_pearsons() -> None:
    a, b = torch.randn(2, 8, 8), torch.randn(2, 8, 8)
    expected = torch.stack(
        [torch.corrcoef(torch.stack([a[i].ravel(), b[i].ravel()]))[0, 1] for i in range(2)]
    )
    torch.testing.assert_close(correlation(a, b), expected)
    torch.testing.assert_close(correlation(a, 2 * a + 1), torch.ones(2))


@pytest.mark.usefixtures("rendered_once")
def test_training_writes_a_net_that_serves_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "NEWTON_SCHULZ_STEPS", 1)
    folder = train_depth(Run(out=tmp_path, world=ALONE, steps=2), **SMALL)
    lines = [json.loads(line) for line in (tmp_path / "depth.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 2 and "corr" in lines[-1]
    estimator = TransformersDepth(str(folder), "cpu", torch.float32)
    found = estimator.estimate(torch.rand(3, 3, 144, 256) * 2 - 1)
    assert found.shape == (3, 144, 256) and found.isfinite().all()
    train_depth(Run(out=tmp_path, world=ALONE, steps=1, resume=True), **SMALL)
    last = json.loads((tmp_path / "depth.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3
    judged = evaluate_depth(folder, scenes=3, not_telling=1)
    assert all(-1 <= judged[name] <= 1 for name in ("correlation", "worst_tenth", "not_telling"))


@pytest.mark.usefixtures("rendered_once")
def test_a_checkpoint_of_another_net_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "depth-checkpoint", {"model.x": torch.zeros(1)}, {"step": 1})
    with pytest.raises(ValueError, match=r"depth-checkpoint: expected backbone\."):
        train_depth(Run(out=tmp_path, world=ALONE, steps=1, resume=True), **SMALL)


def test_saved_net_sees_what_the_trained_one_sees(tmp_path: Path) -> None:
    model, processor = build_depth_net()
    save_depth_net(tmp_path, model, processor)
    frames = (torch.rand(2, 3, 144, 256) * 255).round() / 127.5 - 1
    served = TransformersDepth(str(tmp_path), "cpu", torch.float32).estimate(frames)
    small = F.interpolate(frames, size=(HEIGHT, WIDTH), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = model(pixel_values=small).predicted_depth[:, None]
    expected = F.interpolate(expected, size=(144, 256), mode="bilinear")[:, 0]
    torch.testing.assert_close(
        served, expected, rtol=0.02, atol=0.02
    )  # rounded pixels, half-precision weights


def test_two_pictures_are_learnt_by_heart() -> None:
    """Of a few patches only: so it takes three dozen steps."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    pictures, disparity = photographs(*sample_surfaces(2, generator), generator)
    pictures = F.adaptive_avg_pool2d(pictures, (32, 56))
    disparity = F.adaptive_max_pool2d(disparity[:, None], (32, 56))[:, 0]
    model, _ = build_depth_net()
    model.head.activation2 = nn.Identity()  # as in training
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    r = 0.0
    for _ in range(100):
        predicted = model(pixel_values=pictures).predicted_depth
        loss, pull = depth_loss(predicted, disparity)
        optimiser.zero_grad()
        (loss + 2 * pull).backward()
        optimiser.step()
        r = correlation(predicted.detach(), disparity).mean().item()
        if r > 0.95:
            break
    assert r > 0.95
