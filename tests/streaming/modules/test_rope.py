"""Positions: relative by construction, exact at any distance, split between axes without a rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.modules.rope import THETA, axis_pairs, rotate, rotation

CPU = torch.device("cpu")


@given(st.integers(3, 200).map(lambda pairs: 2 * pairs))
def test_axes_share_all_pairs(head_dim: int) -> None:
    time, height, width = axis_pairs(head_dim)
    assert time + height + width == head_dim // 2 and height == width <= time


def test_the_published_split_is_22_21_21() -> None:
    assert axis_pairs(128) == (22, 21, 21)


@pytest.mark.parametrize("head_dim", [4, 7])
def test_a_head_too_small_or_odd_is_refused(head_dim: int) -> None:
    with pytest.raises(ValueError, match=f"got {head_dim}"):
        axis_pairs(head_dim)


@given(st.integers(0, 10_000_000))
@settings(deadline=None)
def test_products_depend_on_distance_only(shift: int) -> None:
    """Also after a month of streaming: angles come from float64."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 12)
    near = rotate(q, rotation([5], 1, 1, 12, CPU)) * rotate(k, rotation([2], 1, 1, 12, CPU))
    far = rotate(q, rotation([5 + shift], 1, 1, 12, CPU)) * rotate(k, rotation([2 + shift], 1, 1, 12, CPU))
    torch.testing.assert_close(far.sum(), near.sum(), atol=1e-5, rtol=0)


def test_tokens_are_ordered_latent_row_column() -> None:
    turn = rotation([7, 4], 2, 3, 24, CPU)
    token = turn[1 * 6 + 1 * 3 + 2]  # latent 4, row 1, column 2
    angles = [
        place * THETA ** -(torch.arange(pairs, dtype=torch.float64) / pairs)
        for place, pairs in zip((4, 1, 2), axis_pairs(24), strict=True)
    ]
    want = torch.stack([torch.cat(angles).cos(), torch.cat(angles).sin()], dim=-1)
    torch.testing.assert_close(token, want.float())


def test_compiled_code_rotates_in_real_numbers_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor has no complex numbers, and without it they are the fastest way."""
    x, by = torch.randn(2, 6, 3, 12), rotation([3], 2, 3, 12, CPU)
    complex_ = rotate(x, by)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    real = rotate(x, by)
    torch.testing.assert_close(real, complex_, atol=1e-6, rtol=0)


def test_a_range_and_a_list_of_the_same_positions_are_one() -> None:
    for start in (0, 3, 12_000_000):
        frames = range(start, start + 3)
        assert torch.equal(rotation(frames, 2, 3, 12, CPU), rotation(list(frames), 2, 3, 12, CPU))


def test_rotation_keeps_dtype_and_norm() -> None:
    x = torch.randn(1, 6, 2, 12).bfloat16()
    turned = rotate(x, rotation([3], 2, 3, 12, CPU))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float().norm(), x.float().norm(), rtol=1e-2, atol=0)
