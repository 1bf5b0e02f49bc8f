"""Laws of the levers: what they cannot do is refused, and what they do leaves the pictures alone."""

import pytest
import torch

from streaming.acceleration import Levers, accelerate
from streaming.blocks.text_conditioning import parse_prompts
from streaming.pipeline import LongLivePipeline

CPU = torch.device("cpu")


def new_pipeline() -> LongLivePipeline:
    return LongLivePipeline({"height": 32, "width": 48}, device=CPU, dtype=torch.float32)


def run(pipeline: LongLivePipeline) -> torch.Tensor:
    session, depth = pipeline.open_session(seed=0), torch.zeros(1, 1, 12, 32, 48)
    return pipeline.generate(session, parse_prompts("gold"), guidance_mode="depth", vace_input=depth)


@pytest.mark.parametrize("lever", ["fp8", "graphs"])
def test_what_needs_a_gpu_says_so(lever: str) -> None:
    with pytest.raises(ValueError, match=f"{lever} needs a GPU, got device cpu"):
        accelerate(new_pipeline(), Levers(**{lever: True}))


def test_an_arranged_pipeline_paints_the_same() -> None:
    plain, other = new_pipeline(), new_pipeline()
    accelerate(other, Levers(packs=True, channels_last=True, folds_time=True))
    torch.testing.assert_close(run(other), run(plain), atol=1e-5, rtol=0)
