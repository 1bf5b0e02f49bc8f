import logging

import pytest

from server.protocol.replies import StateChanged
from server.session.state import TRANSITIONS, SessionStateMachine, State


@pytest.fixture
def told():
    return []


@pytest.fixture
def machine(told):
    return SessionStateMachine("loading", told.append, logging.getLogger(__name__))


def test_every_state_is_in_the_table_and_failed_is_final():
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.FAILED] == set()


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_law_a_session_warms_up_once_waits_and_lives_by_turns_and_fails_for_good(before, after):
    ways = {"warming": {"waiting", "failed"}, "waiting": {"live", "failed"}, "live": {"waiting", "failed"}}
    told = []
    machine = SessionStateMachine("", told.append, logging.getLogger(__name__))
    for state in {"warming": [], "live": [State.WAITING, State.LIVE]}.get(before.value, [before]):
        machine.become(state, "")
    told.clear()
    if after is before or after.value in ways.get(before.value, ()):
        machine.become(after, "news")
        assert told == [machine.message] == [StateChanged(state=after.value, detail="news")]
    else:
        with pytest.raises(RuntimeError, match=f"{before.value} cannot become {after.value}"):
            machine.become(after, "news")
        assert machine.state is before and not told


def test_each_change_of_state_or_words_is_told_once(machine, told):
    assert machine.message == StateChanged(state="warming", detail="loading")
    machine.become(State.WARMING, "warming up")
    machine.become(State.WAITING, "for the camera")
    machine.become(State.WAITING, "for the camera")
    machine.become(State.LIVE, "live")
    assert [(m.state, m.detail) for m in told] == [
        ("warming", "warming up"),
        ("waiting", "for the camera"),
        ("live", "live"),
    ]


def test_why_a_session_failed_is_told_once_it_has(machine, caplog):
    caplog.set_level("INFO")
    for state in (State.WARMING, State.WAITING, State.LIVE):
        machine.become(state, state.value)
        assert machine.failure is None
    machine.become(State.FAILED, "out of memory")
    assert machine.failure == "out of memory"
    assert caplog.messages == ["waiting (waiting)", "live (live)", "failed (out of memory)"]


def test_a_state_that_cannot_follow_is_a_bug_of_ours(machine):
    with pytest.raises(RuntimeError, match="warming cannot become live"):
        machine.become(State.LIVE, "live")
