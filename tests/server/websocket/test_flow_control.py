"""Credit-based flow control: no more pictures on their way than allowed, and none queued but the newest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.websocket.flow_control import MOST_AHEAD, Allowance, CreditError, Newest, Window


def test_nothing_is_sent_without_credit():
    allowance = Allowance()
    assert not allowance.may_send
    allowance.raise_to(2)
    assert [allowance.spend(), allowance.spend()] == [0, 1]
    assert not allowance.may_send


@pytest.mark.parametrize("total", [0, MOST_AHEAD + 1, 2**32 - 1])
def test_credit_out_of_bounds_is_refused(total):
    with pytest.raises(CreditError, match="credit: got"):
        Allowance().raise_to(total)


def test_credit_may_be_as_far_ahead_of_what_was_sent_as_allowed_and_no_further():
    allowance = Allowance()
    allowance.raise_to(MOST_AHEAD)
    assert [allowance.spend() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CreditError, match=f"got {MOST_AHEAD + 4}, expected 17 to {MOST_AHEAD + 3}"):
        allowance.raise_to(MOST_AHEAD + 4)
    allowance.raise_to(MOST_AHEAD + 3)
    assert [allowance.spend() for _ in range(MOST_AHEAD)][-1] == MOST_AHEAD + 2
    assert not allowance.may_send and allowance.sent == MOST_AHEAD + 3


def test_credit_that_raises_nothing_is_refused():
    allowance = Allowance()
    allowance.raise_to(3)
    with pytest.raises(CreditError, match="expected 4 to"):
        allowance.raise_to(3)


@pytest.mark.parametrize("sequence", [1, 7])
def test_a_picture_out_of_order_is_refused(sequence):
    with pytest.raises(CreditError, match="expected 0"):
        Window(3).receive(sequence)


def test_a_picture_beyond_the_credit_is_refused():
    window = Window(2)
    window.receive(0)
    window.receive(1)
    with pytest.raises(CreditError, match="for 2 in all"):
        window.receive(2)
    window.done()
    window.receive(2)


@given(st.integers(1, MOST_AHEAD), st.lists(st.sampled_from(["film", "send", "arrive", "decode", "credit"])))
def test_never_more_on_the_way_than_the_window_and_never_an_old_one_kept(size, events):
    """The two sides together, the way between them slow at will."""
    allowance, window, slot = Allowance(), Window(size), Newest[int]()
    way, credits, decoding = [], [window.total], 0
    filmed = skipped = taken = 0
    for event in events:
        match event:
            case "film":
                filmed += 1
                slot.put(filmed)
            case "send" if slot and allowance.may_send:
                picture, lost = slot.take()
                assert picture == filmed, "the newest is sent"
                skipped, taken = skipped + lost, taken + 1
                way.append(allowance.spend())
            case "arrive" if way:
                window.receive(way.pop(0))
                decoding += 1
            case "decode" if decoding:
                decoding -= 1
                window.done()
                credits.append(window.total)
            case "credit" if credits:
                allowance.raise_to(credits.pop(0))
        assert len(way) + decoding <= size
    if slot:
        skipped, taken = skipped + slot.take()[1], taken + 1
    assert skipped + taken == filmed, "every picture is sent, counted or the one kept"


def test_the_newest_takes_the_place_and_drops_are_counted():
    slot = Newest[str]()
    assert not slot
    assert [slot.put("a"), slot.put("b"), slot.put("c")] == [False, True, True]
    assert slot.take() == ("c", 2)
    slot.put("d")
    assert slot.take() == ("d", 0)
    with pytest.raises(LookupError):
        slot.take()
