"""Law: whatever a chunk starts from, the flow that is taught ends at the clip."""

from dataclasses import replace
from pathlib import Path

import torch

from scripts.embedded.data.sequences import CHUNKS, PLAIN, Sequences
from scripts.embedded.stages.generator import Generator
from scripts.embedded.stages.lessons import Lessons
from streaming.checkpoints.presets import EMBEDDED
from streaming.config import CHUNK_LATENTS

SMALL = replace(EMBEDDED, height=16, width=16)
SHAPE = (2, CHUNKS * CHUNK_LATENTS, 16, 2, 2)


def clips(noise: float) -> Sequences:
    torch.manual_seed(0)
    latents = torch.randn(4, *SHAPE)
    return Sequences(
        reactive=latents[0],
        inactive=torch.zeros(SHAPE),
        mask=torch.ones(*SHAPE[:2], 64, 2, 2),
        target=latents[1],
        camera=latents[2],
        noise=torch.full((2,), noise),
        references=latents[3, :, :2],
        tokens=torch.ones(2, 2, 16, dtype=torch.int32),
        switch=torch.full((2,), CHUNKS),
        scale=torch.ones(2),
        kind=torch.full((2,), PLAIN),
    )


def test_flow_leads_to_the_clip_from_the_camera_as_from_noise() -> None:
    lessons = Lessons(Generator(SMALL, Path(EMBEDDED.files["tokenizer_path"])), torch.device("cpu"))
    for noise in (0.6, 1.0):
        drawn, largest = clips(noise), 0.0
        target = drawn.target.unflatten(1, (CHUNKS, CHUNK_LATENTS))
        camera = drawn.camera.unflatten(1, (CHUNKS, CHUNK_LATENTS))
        for _ in range(4):
            lesson, flow, sigma = lessons.lesson(drawn, 0)
            level = sigma[:, :, None, None, None, None]
            torch.testing.assert_close(lesson.noisy - level * flow, target, atol=1e-4, rtol=0)
            torch.testing.assert_close(lesson.timestep, 1000 * sigma)
            largest = max(largest, sigma.max().item())
            noised = (lesson.noisy - (1 - level) * camera) / level  # of a first step: noise of variance 1
            if noise < 1:
                first = noised[sigma == sigma.new_tensor(noise)]
                assert abs(first.std().item() - 1) < 0.15
        assert abs(largest - noise) < 1e-3
