"""Laws of the choice of a kernel: it is a matter of speed alone, and can be taken back."""

from collections.abc import Iterator

import pytest
import torch

from streaming.modules.attention import attend, prefer


@pytest.fixture(autouse=True)
def no_preference_is_left() -> Iterator[None]:
    yield
    prefer("auto")


@pytest.mark.parametrize("kernel", ["auto", "cudnn", "flash"])
def test_the_kernel_changes_no_result(kernel) -> None:
    q, k, v = (torch.randn(1, n, 2, 8, generator=torch.Generator().manual_seed(n)) for n in (3, 5, 5))
    logits = torch.einsum("blnd,bmnd->bnlm", q, k) / 8**0.5
    prefer(kernel)
    torch.testing.assert_close(attend(q, k, v), torch.einsum("bnlm,bmnd->blnd", logits.softmax(-1), v))


def test_a_preference_replaces_the_one_before_and_can_be_taken_back() -> None:
    before = torch._C._get_sdp_priority_order()
    prefer("cudnn")
    assert torch._C._get_sdp_priority_order()[0] == torch.nn.attention.SDPBackend.CUDNN_ATTENTION.value
    prefer("flash")
    assert torch._C._get_sdp_priority_order()[0] == torch.nn.attention.SDPBackend.FLASH_ATTENTION.value
    prefer("auto")
    assert torch._C._get_sdp_priority_order() == before
