"""Laws of the optimizations: what they cannot do is refused, and what they do leaves the pictures alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import streaming.acceleration
from streaming.acceleration import Optimizations, Speed, accelerate, optimizations_for
from streaming.blocks.text_conditioning import parse_prompts
from streaming.gpu import compilation
from streaming.kernels import attention
from streaming.pipeline import LongLivePipeline
from streaming.session import StreamSession
from tests.streaming.tiny_preset import narrow_pipeline

CPU = torch.device("cpu")


def new_pipeline() -> LongLivePipeline:
    return narrow_pipeline()


@pytest.fixture(scope="module")
def plain() -> LongLivePipeline:
    """One that no test accelerates."""
    return new_pipeline()


def run(pipeline: LongLivePipeline) -> torch.Tensor:
    session, depth = pipeline.open_session(seed=0), torch.zeros(1, 1, 12, 32, 48)
    return pipeline.generate(session, parse_prompts("gold"), guidance_mode="depth", vace_input=depth)


@pytest.mark.parametrize("name", ["fuses", "fp8", "fp8_attention", "side_stream", "graphs"])
def test_what_needs_a_gpu_says_so(plain: LongLivePipeline, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs a GPU, got device cpu"):
        accelerate(plain, Optimizations(**{name: True}))


def test_an_arranged_pipeline_paints_the_same(plain: LongLivePipeline) -> None:
    other = new_pipeline()
    accelerate(other, Optimizations(packs=True, channels_last=True))
    torch.testing.assert_close(run(other), run(plain), atol=1e-5, rtol=0)


def test_two_pipelines_with_other_optimizations_do_not_touch_each_other(
    plain: LongLivePipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one process, chunk by chunk in turns: neither attention's kernel nor what is compiled is used by the
    plain one, whose pictures stay what they were, bit for bit."""
    used: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: (used.append(name), function(*given))[1]

    def chunk(pipeline: LongLivePipeline, session: StreamSession) -> torch.Tensor:
        depth = torch.full((1, 1, 12, 32, 48), 0.1 * session.chunk)
        return pipeline.generate(session, parse_prompts("gold"), guidance_mode="depth", vace_input=depth)

    other = new_pipeline()
    before = plain.open_session(seed=0)
    wanted = [chunk(plain, before) for _ in range(3)]
    monkeypatch.setattr(attention, "_attend_in_order", noted("kernel", attention._attend_in_order))
    monkeypatch.setattr(compilation, "_compiled", lambda function, _: noted("compiled", function))
    order = torch._C._get_sdp_priority_order()
    accelerate(other, Optimizations(packs=True, channels_last=True, compiles=True, attention="flash"))
    mine, theirs = plain.open_session(seed=0), other.open_session(seed=0)
    for index, want in enumerate(wanted):
        assert torch.equal(chunk(plain, mine), want)
        assert not used and torch._C._get_sdp_priority_order() == order
        torch.testing.assert_close(chunk(other, theirs), want, atol=1e-4, rtol=0)
        assert set(used) == ({"kernel", "compiled"} if index else {"kernel"})
        used.clear()


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
    monkeypatch.setattr(streaming.acceleration, "can_use_fa3", lambda device: "fa3" in has)
    monkeypatch.setattr(streaming.acceleration, "find_spec", lambda name: name if name in has else None)
    optimizations = optimizations_for(speed, torch.device("cuda"), dtype)
    assert (optimizations.fp8, optimizations.fp8_attention) == (fp8, fp8_attention)
    assert optimizations.graphs and optimizations.fuses == optimizations.compiles == ("triton" in has)
    assert optimizations.attention == ("fa3" if "fa3" in has else "auto")


def test_optimizations_that_do_not_go_together_are_refused(
    plain: LongLivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="fp8_attention needs fused blocks and attention fa3, got cudnn"):
        accelerate(plain, Optimizations(fuses=True, fp8_attention=True, attention="cudnn"))
