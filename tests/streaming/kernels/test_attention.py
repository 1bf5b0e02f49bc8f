"""Laws of the choice of a kernel: it is a matter of speed alone, and of who asked for it."""

import pytest
import torch
from torch.nn.attention import SDPBackend

from streaming.kernels import attention
from streaming.kernels.attention import Kernel, attention_kernel


def operands() -> list[torch.Tensor]:
    return [torch.randn(1, n, 2, 8, generator=torch.Generator().manual_seed(n)) for n in (3, 5, 5)]


@pytest.mark.parametrize("kernel", ["auto", "cudnn", "flash"])
def test_the_kernel_changes_no_result(kernel: Kernel) -> None:
    q, k, v = operands()
    logits = torch.einsum("blnd,bmnd->bnlm", q, k) / 8**0.5
    wanted = torch.einsum("bnlm,bmnd->blnd", logits.softmax(-1), v)
    torch.testing.assert_close(attention_kernel(kernel)(q, k, v), wanted)


@pytest.mark.parametrize(
    ("kernel", "first"), [("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)]
)
def test_a_kernel_is_tried_first_in_its_own_calls_alone(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, first: SDPBackend
) -> None:
    """PyTorch's order is the process's: other networks in it keep theirs."""
    before, during = torch._C._get_sdp_priority_order(), list[int]()
    plain = attention.attend

    def attend(*operands: torch.Tensor) -> torch.Tensor:
        during.append(torch._C._get_sdp_priority_order()[0])
        return plain(*operands)

    monkeypatch.setattr(attention, "attend", attend)
    chosen = attention_kernel(kernel)
    assert torch._C._get_sdp_priority_order() == before
    chosen(*operands())
    assert during == [first.value]
    assert torch._C._get_sdp_priority_order() == before
