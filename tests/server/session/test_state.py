import logging

import pytest

from server.protocol.replies import StateChanged
from server.session.state import TRANSITIONS, Standing, State


@pytest.fixture
def told():
    return []


@pytest.fixture
def standing(told):
    return Standing("loading", told.append, logging.getLogger(__name__))


def test_every_state_is_in_the_table_and_failed_is_final():
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.FAILED] == set()


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_law_a_session_warms_up_once_waits_and_lives_by_turns_and_fails_for_good(before, after):
    ways = {"warming": {"waiting", "failed"}, "waiting": {"live", "failed"}, "live": {"waiting", "failed"}}
    told = []
    standing = Standing("", told.append, logging.getLogger(__name__))
    for state in {"warming": [], "live": [State.WAITING, State.LIVE]}.get(before.value, [before]):
        standing.become(state, "")
    told.clear()
    if after is before or after.value in ways.get(before.value, ()):
        standing.become(after, "news")
        assert told == [standing.message] == [StateChanged(state=after.value, detail="news")]
    else:
        with pytest.raises(RuntimeError, match=f"{before.value} cannot become {after.value}"):
            standing.become(after, "news")
        assert standing.state is before and not told


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
