"""First come, first served: the line before a full server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transport.admission import FORGOTTEN_S, MAX_WAITING, PRESENT_S, WaitingLine, is_ticket


def test_who_came_first_enters_first():
    line = WaitingLine()
    assert [line.ask(name, 0, 0.0).position for name in "abc"] == [1, 2, 3]
    assert not line.ask("b", 1, 1.0).may_enter
    assert line.ask("a", 1, 2.0).may_enter
    line.leave("a")
    assert line.ask("c", 0, 3.0).position == 2
    assert line.ask("b", 1, 4.0).may_enter


def test_nobody_slips_in_without_a_ticket_while_others_wait():
    line = WaitingLine()
    assert line.ask(None, 1, 0.0).may_enter
    line.ask("a", 0, 0.0)
    standing = line.ask(None, 1, 1.0)
    assert (standing.may_enter, standing.position, standing.waiting) == (False, None, 1)
    assert line.ask(None, 2, 1.0).may_enter, "there is a place for both"


def test_who_is_away_is_passed_over_but_keeps_the_place_for_a_while():
    line = WaitingLine()
    line.ask("away", 0, 0.0)
    line.ask("here", 0, 0.0)
    later = PRESENT_S + 1
    assert line.ask("here", 0, later).position == 1
    assert line.ask("away", 0, later).position == 1
    assert line.ask("here", 0, later).position == 2


def test_a_ticket_that_is_not_renewed_expires():
    line = WaitingLine()
    line.ask("gone", 0, 0.0)
    line.ask("here", 0, FORGOTTEN_S)
    assert line.ask("gone", 0, FORGOTTEN_S + 1).position == 2


def test_the_line_is_bounded():
    line = WaitingLine()
    for number in range(MAX_WAITING):
        assert line.ask(f"{number}", 0, 0.0).position == number + 1
    standing = line.ask("one more", 0, 0.0)
    assert (standing.may_enter, standing.position, standing.waiting) == (False, None, MAX_WAITING)
    assert line.ask("0", 0, 1.0).position == 1


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.integers(0, 2), max_size=8))
def test_those_who_keep_asking_enter_in_the_order_in_which_they_came(arrivals, freed):
    line, entered, now = WaitingLine(), [], 0.0
    for name in arrivals:
        line.ask(name, 0, now)
    for free in freed:
        now += 2.0
        for name in sorted(set(arrivals) - set(entered)):  # whoever asks first: only the line counts
            if line.ask(name, free, now).may_enter:
                line.leave(name)
                entered.append(name)
                free -= 1
        assert free >= 0
        assert sorted(entered) == sorted(arrivals[: len(entered)])


@pytest.mark.parametrize(
    ("text", "holds"),
    [("a" * 16, True), ("aZ09_-" * 4, True), ("a" * 15, False), ("a" * 65, False), ("a" * 16 + "\n", False)],
)
def test_tickets_are_long_enough_not_to_be_guessed(text, holds):
    assert is_ticket(text) is holds
