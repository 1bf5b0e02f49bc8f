"""Reads the parity cases in `cases/`: small random models with inputs and the numbers of the public
references."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    name: str
    meta: dict[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @property
    def config(self) -> dict[str, Any]:
        return self.meta["config"]

    def weights_below(self, prefix: str) -> dict[str, Tensor]:
        """Weights whose name starts with `prefix`, without it."""
        return {key.removeprefix(prefix): v for key, v in self.weights.items() if key.startswith(prefix)}

    def to(self, device: str) -> "Case":
        """With weights and inputs on `device`."""
        weights, inputs = ({k: v.to(device) for k, v in d.items()} for d in (self.weights, self.inputs))
        return replace(self, weights=weights, inputs=inputs)

    def check(self, key: str, got: Tensor) -> float:
        """Assert that an output lies within the case's tolerance; returns the largest difference."""
        want, bounds = self.outputs[key].double(), self.meta["recommended_fp32"]
        assert got.shape == want.shape, f"{self.name}/{key}: {tuple(got.shape)}, expected {tuple(want.shape)}"
        difference = (got.cpu().double() - want).abs()
        outside = ~(difference <= bounds["atol"] + bounds["rtol"] * want.abs())  # NaN counts as outside
        assert not outside.any(), (
            f"{self.name}/{key}: {int(outside.sum())} values off by up to {difference.max()}"
        )
        return difference.max().item()


def _part(name: str, part: str) -> dict[str, Tensor]:
    """Tensors below `part`/. Half types are storage only: they were rounded before the reference ran."""
    tensors = load_file(ROOT / f"{name}.safetensors")
    cut = {
        key.removeprefix(f"{part}/"): value for key, value in tensors.items() if key.startswith(f"{part}/")
    }
    return {key: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for key, v in cut.items()}


def load_case(name: str) -> Case:
    meta = json.loads((ROOT / f"{name}.json").read_text())
    weights, inputs = _part(name, "weights"), _part(name, "in")
    if source := meta.get("weights_from"):
        weights = _part(source, "weights") | weights
    match meta.get("inputs_from"):
        case str(source):
            inputs = _part(source, "in") | inputs
        case dict(sources):
            inputs = {key: _part(source, "in")[key] for key, source in sources.items()} | inputs
    return Case(name, meta, weights, inputs, _part(name, "out"))
