import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.blocks.adaptive_scale import AdaptiveScale

motions = st.lists(st.floats(0, 2), max_size=8)


def after(chunks: list[float]) -> AdaptiveScale:
    state = AdaptiveScale()
    for motion in chunks:
        state = state.follow(motion)
    return state


@given(motions, st.floats(0, 2), st.floats(0, 1))
def test_the_scale_stays_within_bounds(chunks: list[float], scale: float, adaptive: float) -> None:
    got = after(chunks).applied(scale, adaptive)
    assert 0 <= got <= 2
    assert scale * 0.5 - 1e-9 <= got <= scale * 1.5 + 1e-9


@given(motions, st.floats(0, 2))
def test_off_is_the_scale_itself_bit_for_bit(chunks: list[float], scale: float) -> None:
    assert after(chunks).applied(scale, 0.0) == scale


@given(motions, st.floats(0, 2), st.floats(0, 2))
def test_more_motion_never_means_less_guidance(chunks: list[float], one: float, other: float) -> None:
    still, lively = sorted((one, other))
    assert after([*chunks, still]).applied(1, 1) <= after([*chunks, lively]).applied(1, 1) + 1e-12


def test_still_is_weaker_and_moving_is_stronger() -> None:
    assert after([0.0] * 6).applied(1, 1) == pytest.approx(0.5, abs=0.02)
    assert after([0.5] * 6).applied(1, 1) > 1.35
    assert after([0.0] * 6).applied(1, 0.5) == pytest.approx(0.75, abs=0.01)


def test_no_chunk_jumps_the_whole_way() -> None:
    state, scales = AdaptiveScale(), []
    for motion in [0.0] * 5 + [0.5] * 5 + [0.0] * 5:
        state = state.follow(motion)
        scales.append(state.applied(1, 1))
    assert max(abs(a - b) for a, b in zip(scales, scales[1:], strict=False)) < 0.55


def test_a_person_who_talks_leaves_the_scale_as_it_was_set_and_so_does_no_chunk_yet() -> None:
    assert AdaptiveScale().applied(1.3, 1) == 1.3
    assert after([0.015] * 4).applied(1.3, 1) == pytest.approx(1.3)
    assert after([0.0]).applied(1, 1) == 0.75  # half of the way with the first chunk
