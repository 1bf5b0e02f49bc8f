"""A prompt that turns into another over several chunks: `blend(n)`.

Chunk k of n is painted under the embedding k/n of the way, so the first chunk already moves and the last one
is the target itself, bit for bit: it is taken from the prompt and not computed. A new prompt on the way
starts from where the blend is. Nothing is ever reset by it.

The window of keys and values is recomputed where the blend arrives, so that nothing of the old prompt is left
in it, and not on the way: each chunk remembers itself under its own step, so the window follows by itself.
On 8 pairs of looks of the built-in model, over 4 chunks, recomputing at every step gave the same pictures
(within 0.01 of the way from look to look, 0.1 dB) for nearly a quarter more time in every chunk.

`linear` goes straight and is scaled back to the length that lies between, as weighted prompts are; `slerp`
turns every token's direction at an even pace, which keeps unlike prompts from crowding all change into the
middle. Source of both: daydreamlive/scope, whose own last step misses the target for n = 1.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streaming.api import BlendCurve, check_blend

_PARALLEL = 1e-3  # sine of an angle (float32 knows it to 3e-4): no arc to follow, or no one arc (opposites)


@dataclass(frozen=True, slots=True)
class PromptBlend:
    """One transition under way: a value, owned by the session. The target is the session's prompt."""

    start: Tensor  # (text_len, E) embedding that it left from
    chunks: int
    curve: BlendCurve
    done: int = 0  # chunks generated so far

    def __post_init__(self) -> None:
        check_blend(self.chunks, self.curve)

    @property
    def fraction(self) -> float:
        return self.done / self.chunks

    @property
    def has_arrived(self) -> bool:
        return self.done >= self.chunks

    def advanced(self) -> "PromptBlend":
        return replace(self, done=self.done + 1)

    def towards(self, target: Tensor) -> Tensor:
        """The embedding (text_len, E) of where the blend is."""
        return target if self.has_arrived else between(self.start, target, self.fraction, self.curve)


def between(start: Tensor, target: Tensor, fraction: float, curve: BlendCurve) -> Tensor:
    """Embeddings (text_len, E) -> the one at `fraction` 0 ... 1 of the way, in their dtype.

    Lengths go evenly from the one's to the other's: the whole embedding's for `linear`, each token's for
    `slerp`. A token that only one of the prompts has grows from zero, or shrinks to it.
    """
    a, b = start.float(), target.float()
    straight = a + fraction * (b - a)
    if curve == "linear":
        length = torch.lerp(a.norm(), b.norm(), fraction)
        return (straight * (length / straight.norm().clamp_min(1e-8))).to(target.dtype)
    length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    unit_a, unit_b = a / length_a.clamp_min(1e-8), b / length_b.clamp_min(1e-8)
    angle = (unit_a * unit_b).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (unit_a * ((1 - fraction) * angle).sin() + unit_b * (fraction * angle).sin()) / sine
    turned = arc * torch.lerp(length_a, length_b, fraction)
    has_arc = (sine > _PARALLEL) & (length_a > 0) & (length_b > 0)
    return torch.where(has_arc, turned, straight).to(target.dtype)
