"""Distance of the accelerated pipeline from the plain one: the same streams, before and after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming.blocks.text_conditioning import parse_prompts
from streaming.config import CHUNK_LATENTS
from streaming.pipeline import LongLivePipeline, Sampling

PROMPT = "a statue of molten gold"


@dataclass(frozen=True, slots=True)
class Painted:
    """One chunk, on the host."""

    latents: Tensor  # (1, F, C, h, w) float32
    frames: Tensor  # (T, H, W, 3) float32 in [0, 1]


def generated(
    pipeline: LongLivePipeline, chunks: int, *, guided: bool, steps: tuple[int, ...] | None
) -> list[Painted]:
    """The first chunks of a stream. Depth and noise are the same whenever it is called."""
    draws, session = torch.Generator().manual_seed(0), pipeline.open_session(seed=0)
    size, found = (pipeline.preset.height, pipeline.preset.width), list[Painted]()
    for _ in range(chunks):
        coarse = torch.rand(1, 1, 12, 9, 16, generator=draws)
        depth = torch.nn.functional.interpolate(coarse, size=(12, *size), mode="trilinear") * 2 - 1
        frames = pipeline.generate(
            session,
            parse_prompts(PROMPT),
            guidance_mode="depth" if guided else None,
            vace_input=depth.to(pipeline.device, pipeline.dtype) if guided else None,
            sampling=Sampling(steps=steps),
        )
        assert session.recent is not None
        latents = session.recent[:, -CHUNK_LATENTS:]
        found.append(Painted(latents.float().cpu(), frames.float().cpu()))
    return found


def differences(plain: Sequence[Painted], fast: Sequence[Painted]) -> list[dict[str, float | None]]:
    """By chunk: relative L2 of the latents, PSNR of the frames in dB (None: equal).

    Streams run freely: what one chunk differs by goes into the memory of the next.
    """
    rows: list[dict[str, float | None]] = []
    for before, after in zip(plain, fast, strict=True):
        off = (after.latents - before.latents).norm() / before.latents.norm()
        error = (after.frames - before.frames).square().mean().item()
        rows.append({"latents_rel_l2": off.item(), "psnr_db": -10 * math.log10(error) if error else None})
    return rows
