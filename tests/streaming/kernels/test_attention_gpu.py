"""FlashAttention-3 on a GPU: what is cut into whole rounds and a rest is put together again."""

import pytest
import torch
from torch import Tensor

from streaming.kernels.attention import FP8_SCALE, AttentionKernel, attention_kernel, can_use_fa3

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not can_use_fa3(torch.device("cuda")), reason="needs a Hopper card and fa3-fwd"),
]


@pytest.fixture(scope="module")
def attend() -> AttentionKernel:
    return attention_kernel("fa3")


def operands(length: int, keys: int, heads: int, size: int) -> list[Tensor]:
    draws = torch.Generator("cuda").manual_seed(length)
    return [torch.randn(1, n, heads, size, generator=draws, device="cuda") for n in (length, keys, keys)]


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    logits = torch.einsum("blnd,bmnd->bnlm", q.double(), k.double()) / q.shape[-1] ** 0.5
    return torch.einsum("bnlm,bmnd->blnd", logits.softmax(-1), v.double())


# A rest of some rows, whole rounds alone, less than a round, few keys.
SHAPES = [(4680, 2500, 12, 128), (4224, 2100, 12, 128), (200, 3000, 4, 64), (4680, 512, 12, 128)]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_attention(attend: AttentionKernel, shape: tuple[int, int, int, int]) -> None:
    q, k, v = (x.bfloat16() for x in operands(*shape))
    got, want = attend(q, k, v), exact(q, k, v)
    assert got.dtype == torch.bfloat16
    assert (got - want).norm() / want.norm() < 5e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_in_fp8_it_is_that_of_the_rounded_operands(
    attend: AttentionKernel, shape: tuple[int, int, int, int]
) -> None:
    q, k, v = ((x * FP8_SCALE).to(torch.float8_e4m3fn) for x in operands(*shape))
    got, want = attend(q, k, v), exact(*(x.float() / FP8_SCALE for x in (q, k, v)))
    assert got.dtype == torch.bfloat16
    assert (got - want).norm() / want.norm() < 0.06, "the weights of keys are rounded to fp8, too"
