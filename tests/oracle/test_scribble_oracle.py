"""The scribble network against its formulas, written out with the published names."""

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.modules.scribble import ScribbleNetwork

# Name and shape of every tensor of the published file.
CONVOLUTIONS: dict[str, tuple[int, ...]] = {
    "model0.1": (64, 3, 7, 7),
    "model1.0": (128, 64, 3, 3),
    "model1.3": (256, 128, 3, 3),
    **{f"model2.{n}.conv_block.{place}": (256, 256, 3, 3) for n in range(3) for place in (1, 5)},
    "model3.0": (256, 128, 3, 3),  # transposed: inputs first
    "model3.3": (128, 64, 3, 3),
    "model4.1": (1, 64, 7, 7),
}


def published_state() -> dict[str, Tensor]:
    draws, state = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for name, shape in CONVOLUTIONS.items():
        out = shape[1] if name.startswith("model3") else shape[0]
        state[f"{name}.weight"] = torch.randn(shape, generator=draws) * 0.1
        state[f"{name}.bias"] = torch.randn(out, generator=draws)
    return state


def reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    def of(name: str) -> tuple[Tensor, Tensor]:
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def normed(y: Tensor) -> Tensor:
        spread, mean = torch.var_mean(y, dim=(2, 3), correction=0, keepdim=True)
        return (y - mean) / (spread + 1e-5).sqrt()

    def padded(y: Tensor, by: int) -> Tensor:
        return F.pad(y, [by] * 4, mode="reflect")

    x = normed(F.conv2d(padded(x, 3), *of("model0.1"))).relu()
    for place in (0, 3):
        x = normed(F.conv2d(x, *of(f"model1.{place}"), stride=2, padding=1)).relu()
    for block in range(3):
        y = normed(F.conv2d(padded(x, 1), *of(f"model2.{block}.conv_block.1"))).relu()
        x = x + normed(F.conv2d(padded(y, 1), *of(f"model2.{block}.conv_block.5")))
    for place in (0, 3):
        weights = of(f"model3.{place}")
        x = normed(F.conv_transpose2d(x, *weights, stride=2, padding=1, output_padding=1)).relu()
    return torch.sigmoid(F.conv2d(padded(x, 3), *of("model4.1")))


@torch.inference_mode()
def test_the_published_layout_is_taken_by_name_and_computes_its_formulas() -> None:
    network, state = ScribbleNetwork().eval(), published_state()
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }
    network.load_state_dict(state)
    pictures = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    drawn = network(pictures)
    assert drawn.shape == (2, 1, 16, 24)
    torch.testing.assert_close(drawn, reference(state, pictures), atol=1e-5, rtol=0)
