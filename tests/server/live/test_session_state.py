import logging

import pytest

from server.live.session_state import TRANSITIONS, Standing, State
from server.wire.replies import StateChanged


@pytest.fixture
def told():
    return []


@pytest.fixture
def standing(told):
    return Standing("loading", told.append, logging.getLogger(__name__))


def test_every_state_is_in_the_table_and_failed_is_final():
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.FAILED] == set()


def test_each_change_of_state_or_words_is_told_once(standing, told):
    assert standing.message == StateChanged(state="warming", detail="loading")
    standing.become(State.WARMING, "warming up")
    standing.become(State.WAITING, "for the camera")
    standing.become(State.WAITING, "for the camera")
    standing.become(State.LIVE, "live")
    assert [(m.state, m.detail) for m in told] == [
        ("warming", "warming up"),
        ("waiting", "for the camera"),
        ("live", "live"),
    ]


def test_a_state_that_cannot_follow_is_a_bug_of_ours(standing):
    with pytest.raises(RuntimeError, match="warming cannot become live"):
        standing.become(State.LIVE, "live")
