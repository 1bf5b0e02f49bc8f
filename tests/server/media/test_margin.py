"""How late chunks come, and what margin that makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media.margin import BEGINNING, CHUNKS, MOST_S, SHRINKING, TOLERATED_S, PacingMargin

SPAN_S = 0.4
MOST_OF_SPAN_S = SPAN_S / 2


def after(*late: float, span: float = SPAN_S) -> PacingMargin:
    margin = PacingMargin()
    for seconds in late:
        margin.chunk(seconds, span)
    return margin


def test_a_model_that_keeps_time_or_is_early_needs_none():
    assert after().seconds == after(*[0.0] * 9).seconds == after(*[-0.3] * 9).seconds == 0.0


def test_law_it_grows_at_once_to_what_a_late_chunk_needed():
    assert after(0.0, 0.15).seconds == pytest.approx(0.15 - TOLERATED_S)
    assert after(0.15, 0.12).seconds == pytest.approx(0.15 - TOLERATED_S)


def test_what_is_tolerated_needs_none():
    assert after(TOLERATED_S).seconds == 0.0
    assert after(TOLERATED_S + 0.01).seconds == pytest.approx(0.01)


def test_law_a_late_chunk_counts_for_so_many_chunks_and_then_it_shrinks_slowly():
    margin = after(0.15, *[0.0] * (CHUNKS - 1))
    assert margin.seconds == pytest.approx(0.1)
    for chunk in range(1, 40):
        margin.chunk(0.0, SPAN_S)
        assert margin.seconds == pytest.approx(0.1 * (1 - SHRINKING) ** chunk)


@given(st.lists(st.floats(-1, 10), min_size=1, max_size=3 * CHUNKS), st.floats(0.1, 4))
def test_law_it_is_bounded_below_and_above(late, span):
    assert 0.0 <= after(*late, span=span).seconds <= min(span / 2, MOST_S)


def test_it_bridges_all_that_it_can():
    most = after(MOST_OF_SPAN_S + TOLERATED_S).seconds
    assert most == pytest.approx(MOST_OF_SPAN_S)
    assert after(MOST_S + TOLERATED_S, span=9.0).seconds == pytest.approx(MOST_S)


@pytest.mark.parametrize(("late", "span"), [(MOST_OF_SPAN_S + 0.06, SPAN_S), (3.0, SPAN_S), (3.0, 20.0)])
def test_law_for_a_stall_that_it_could_not_bridge_nothing_is_older(late, span):
    assert after(0.0, late, span=span).seconds == 0.0
    assert after(0.1, late, 0.0, span=span).seconds == pytest.approx(0.1 - TOLERATED_S)


def test_a_stall_takes_a_place_among_the_chunks_that_count():
    assert after(0.15, *[3.0] * CHUNKS).seconds < 0.1


def test_later_pictures_of_a_chunk_count_if_they_are_later_than_its_first():
    margin = after(0.1)
    margin.piece(0.08)
    assert margin.seconds == pytest.approx(0.05)
    margin.piece(0.15)
    assert margin.seconds == pytest.approx(0.1)
    for _ in range(CHUNKS):
        margin.chunk(0.0, SPAN_S)
    assert margin.seconds < 0.1, "and are forgotten with it"


def test_law_what_was_late_at_a_stream_s_beginning_is_forgotten_with_it():
    margin = PacingMargin()
    for number in range(BEGINNING):
        margin.chunk(0.15 if number == 1 else 0.0, SPAN_S, number)
    assert margin.seconds == pytest.approx(0.1), "while it lasts"
    for chunk in range(1, 40):
        margin.chunk(0.0, SPAN_S, BEGINNING - 1 + chunk)
        assert margin.seconds == pytest.approx(0.1 * (1 - SHRINKING) ** chunk)
    margin.chunk(0.12, SPAN_S, 50)
    assert margin.seconds == pytest.approx(0.07), "and what is late then is not"


def test_pictures_of_no_chunk_do_not_count():
    margin = PacingMargin()
    margin.piece(0.15)
    assert margin.seconds == 0.0
