"""Laws of the levers: what they cannot do is refused, and what they do leaves the pictures alone."""

import pytest
import torch

import streaming.acceleration
from streaming.acceleration import Levers, Speed, accelerate, levers_for
from streaming.blocks.text_conditioning import parse_prompts
from streaming.pipeline import LongLivePipeline

CPU = torch.device("cpu")


def new_pipeline() -> LongLivePipeline:
    return LongLivePipeline({"height": 32, "width": 48}, device=CPU, dtype=torch.float32)


def run(pipeline: LongLivePipeline) -> torch.Tensor:
    session, depth = pipeline.open_session(seed=0), torch.zeros(1, 1, 12, 32, 48)
    return pipeline.generate(session, parse_prompts("gold"), guidance_mode="depth", vace_input=depth)


@pytest.mark.parametrize("lever", ["fuses", "fp8", "fp8_attention", "beside", "graphs"])
def test_what_needs_a_gpu_says_so(lever: str) -> None:
    with pytest.raises(ValueError, match=f"{lever} needs a GPU, got device cpu"):
        accelerate(new_pipeline(), Levers(**{lever: True}))


def test_an_arranged_pipeline_paints_the_same() -> None:
    plain, other = new_pipeline(), new_pipeline()
    accelerate(other, Levers(packs=True, channels_last=True))
    torch.testing.assert_close(run(other), run(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("speed", "dtype", "capability", "has", "fp8", "fp8_attention"),
    [
        ("exact", torch.bfloat16, (9, 0), "triton fa3", False, False),
        ("fast", torch.bfloat16, (9, 0), "triton fa3", True, True),
        ("fast", torch.bfloat16, (9, 0), "triton", True, False),
        ("fast", torch.bfloat16, (9, 0), "fa3", True, False),
        ("fast", torch.bfloat16, (8, 6), "triton", False, False),
        ("fast", torch.float32, (9, 0), "triton fa3", False, False),
    ],
)
def test_fp8_is_for_fast_and_for_cards_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
    speed: Speed,
    dtype: torch.dtype,
    capability: tuple[int, int],
    has: str,
    fp8: bool,
    fp8_attention: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(streaming.acceleration, "can_prefer_fa3", lambda device: "fa3" in has)
    monkeypatch.setattr(streaming.acceleration, "find_spec", lambda name: name if name in has else None)
    levers = levers_for(speed, torch.device("cuda"), dtype)
    assert (levers.fp8, levers.fp8_attention) == (fp8, fp8_attention)
    assert levers.graphs and levers.fuses == levers.compiles == ("triton" in has)
    assert levers.attention == ("fa3" if "fa3" in has else "auto")


def test_levers_that_do_not_go_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = new_pipeline()
    monkeypatch.setattr(pipeline, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="fp8_attention needs fused blocks and attention fa3, got cudnn"):
        accelerate(pipeline, Levers(fuses=True, fp8_attention=True, attention="cudnn"))
