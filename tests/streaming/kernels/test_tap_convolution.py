"""Laws of convolutions by taps: the same sums as the library's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streaming.kernels.tap_convolution import TapConv2d, convolve_by_taps


@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_librarys_in_space_and_time(bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 5, 4, 6, 7), (3, 5, 3, 3, 3)))
    offset = torch.randn(3, dtype=torch.float64) if bias else None
    wanted = F.conv3d(x, weight, offset, padding=(0, 1, 1))
    torch.testing.assert_close(convolve_by_taps(x, weight, offset, (0, 1, 1)), wanted)


def test_a_layer_is_exchanged_with_its_weights() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 3, 3, padding=1).double()
    other, x = TapConv2d(plain), torch.randn(2, 6, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(other(x), plain(x))
    assert other.weight is plain.weight and list(other.state_dict()) == list(plain.state_dict())
