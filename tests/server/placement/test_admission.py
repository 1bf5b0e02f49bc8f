"""First come, first served: the line before a full server."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.placement.admission import (
    FORGOTTEN_S,
    MAX_UNUSED,
    MAX_WAITING,
    MAX_WAITING_OF_ONE,
    PRESENT_S,
    UNUSED_S,
    AdmissionQueue,
    is_ticket,
)


def test_who_came_first_enters_first():
    queue = AdmissionQueue()
    assert [queue.ask(name, 0, 0.0).position for name in "abc"] == [1, 2, 3]
    assert not queue.ask("b", 1, 1.0).may_enter
    assert queue.ask("a", 1, 2.0).may_enter
    queue.leave("a")
    assert queue.ask("c", 0, 3.0).position == 2
    assert queue.ask("b", 1, 4.0).may_enter


def test_nobody_slips_in_without_a_ticket_while_others_wait():
    queue = AdmissionQueue()
    assert queue.ask(None, 1, 0.0).may_enter
    queue.ask("a", 0, 0.0)
    status = queue.ask(None, 1, 1.0)
    assert (status.may_enter, status.position, status.waiting) == (False, None, 1)
    assert queue.ask(None, 2, 1.0).may_enter, "there is a place for both"


def test_who_is_away_is_passed_over_but_keeps_the_place_for_a_while():
    queue = AdmissionQueue()
    queue.ask("away", 0, 0.0)
    queue.ask("here", 0, 0.0)
    later = PRESENT_S + 1
    assert queue.ask("here", 0, later).position == 1
    assert queue.ask("away", 0, later).position == 1
    assert queue.ask("here", 0, later).position == 2


def test_a_ticket_that_is_not_renewed_expires():
    queue = AdmissionQueue()
    queue.ask("gone", 0, 0.0)
    queue.ask("here", 0, FORGOTTEN_S)
    assert queue.ask("gone", 0, FORGOTTEN_S + 1).position == 2


@pytest.mark.parametrize(("after", "place"), [(PRESENT_S, 2), (PRESENT_S + 0.001, 1)])
def test_who_has_just_asked_is_present_for_ten_seconds(after, place):
    queue = AdmissionQueue()
    queue.ask("a", 0, 0.0)
    queue.ask("b", 0, 0.0)
    status = queue.ask("b", 0, after)
    assert (status.position, status.waiting) == (place, place)


@pytest.mark.parametrize(("after", "place"), [(FORGOTTEN_S, 1), (FORGOTTEN_S + 0.001, 2)])
def test_a_place_is_kept_for_as_long_as_a_hidden_page_needs(after, place):
    queue = AdmissionQueue()
    queue.ask("hidden", 0, 0.0)
    queue.ask("here", 0, after - 1)
    assert queue.ask("hidden", 0, after).position == place


def test_who_leaves_is_known_once():
    queue = AdmissionQueue()
    queue.ask("a", 0, 0.0)
    queue.ask("b", 0, 0.0)
    assert [queue.leave("a"), queue.leave("a"), queue.leave(None)] == [True, False, False]
    assert queue.ask("b", 0, 0.0).position == 1


def test_there_are_places_for_as_many_as_are_free():
    queue = AdmissionQueue()
    asked = [queue.ask(name, 2, 0.0).may_enter for name in "abc"]
    assert asked == [True, True, False], "those before have not come in yet"
    assert not queue.ask(None, 3, 0.0).may_enter and queue.ask(None, 4, 0.0).may_enter


def test_the_line_is_bounded():
    queue = AdmissionQueue()
    for number in range(MAX_WAITING):
        assert queue.ask(f"{number}", 0, 0.0, f"network {number}").position == number + 1
    status = queue.ask("one more", 0, 0.0, "another")
    assert (status.may_enter, status.position, status.waiting) == (False, None, MAX_WAITING)
    assert queue.ask("0", 0, 1.0).position == 1


def test_law_one_address_cannot_fill_the_line():
    places = Counter()
    queue = AdmissionQueue(lambda network: places[network])
    for number in range(MAX_WAITING):
        queue.ask(f"greedy {number}", 0, 0.0, "greedy")
    assert queue.ask("honest", 0, 1.0, "honest").position == 2, "after one of the other's"
    assert queue.ask("more", 0, 1.0, "greedy").waiting == MAX_WAITING_OF_ONE + 1
    places["greedy"] = 2
    queue.holds_changed("greedy")
    assert queue.ask("honest", 0, 2.0, "honest").position == 1, "who holds places comes after who holds none"
    assert queue.ask("late", 0, 2.0, "late").position == 2


def test_law_who_had_a_place_and_showed_nothing_comes_after_others_for_a_while():
    queue = AdmissionQueue()
    queue.gave_back_unused("greedy", 0.0)
    assert queue.ask("again", 0, 0.0, "greedy").position == 1, "nobody else is there"
    assert queue.ask("honest", 0, 1.0, "honest").position == 1
    assert not queue.ask("again", 1, 1.0, "greedy").may_enter
    for second in range(2, int(UNUSED_S) + 2, 5):
        queue.ask("again", 0, second, "greedy")
        assert queue.ask("honest", 0, second, "honest").position == 1
    assert queue.ask("again", 0, UNUSED_S + 1, "greedy").position == 1, "forgiven"


def test_a_ticket_belongs_to_the_network_that_brought_it():
    queue = AdmissionQueue()
    queue.ask("mine", 0, 0.0, "first")
    queue.ask("yours", 0, 0.0, "first")
    assert queue.ask("yours", 0, 1.0, "second").position == 2


def test_what_is_remembered_of_networks_is_bounded():
    queue = AdmissionQueue()
    for number in range(2 * MAX_UNUSED):
        queue.gave_back_unused(f"{number}", 0.0)
    assert len(queue._unused) == MAX_UNUSED


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.integers(0, 2), max_size=8))
def test_those_who_keep_asking_enter_in_the_order_in_which_they_came(arrivals, freed):
    queue, entered, now = AdmissionQueue(), [], 0.0
    for name in arrivals:
        queue.ask(name, 0, now)
    for free in freed:
        now += 2.0
        for name in sorted(set(arrivals) - set(entered)):  # whoever asks first: only the line counts
            if queue.ask(name, free, now).may_enter:
                queue.leave(name)
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
