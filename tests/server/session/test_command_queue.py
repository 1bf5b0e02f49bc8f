import pytest

from server.protocol.replies import Ack, Applied, ErrorReply, Superseded
from server.protocol.requests import (
    DepthPoint,
    Pause,
    Reset,
    Resume,
    SetControls,
    SetDepth,
    SetFreeze,
    SetGuidance,
    SetPrompt,
    SetSeed,
    SetTimeline,
    StartRecording,
    StopRecording,
    StopTimeline,
    TimelineStep,
)
from server.session.command_queue import KNOWN_IDS, ControlQueue, Heartbeat, RateLimit


def prompt(id: str, text: str = "gold") -> SetPrompt:
    return SetPrompt(id=id, text=text)


def ids(commands) -> list[str]:
    return [command.id for command in commands]


def test_every_command_is_acked_and_taken_once_in_order():
    queue = ControlQueue()
    for command in (prompt("1"), SetGuidance(id="2", scale=0.5), Reset(id="3", seed=7)):
        assert queue.submit(command, 0.0) == [Ack(id=command.id)]
    assert ids(queue.waiting) == ["1", "2", "3"]
    assert ids(queue.take(1)) == ["1", "2", "3"]
    assert queue.take(2) == queue.waiting == []
    assert ids(queue.shown(1, 0, 0, 0.0)) == ["1", "2", "3"]


def test_latest_of_a_kind_wins_and_the_other_hears_of_it():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    assert queue.submit(prompt("2", "silver"), 0.0) == [Ack(id="2"), Superseded(id="1", by="2")]
    assert [command.text for command in queue.take(1)] == ["silver"]


def test_what_would_wait_with_another_command_is_told_and_nothing_changed():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    queue.submit(SetDepth(id="2", smoothing=0.2), 0.0)
    with_patch = queue.waiting_with([SetDepth(id="3", enabled=False)])
    assert ids(with_patch) == ["1", "3"] and with_patch[1].smoothing == 0.2
    assert ids(queue.waiting_with([prompt("4", "ice")])) == ["2", "4"]
    assert ids(queue.waiting) == ["1", "2"]
    assert queue.submit(SetDepth(id="3", enabled=False), 0.0)[1:] == [Superseded(id="2", by="3")]
    assert queue.waiting == with_patch


def test_commands_that_undo_each_other_are_of_one_kind():
    queue = ControlQueue()
    queue.submit(SetTimeline(id="1", steps=(TimelineStep(at=0, text="a"),)), 0.0)
    assert queue.submit(StopTimeline(id="2"), 0.0)[1:] == [Superseded(id="1", by="2")]
    queue.submit(Pause(id="3"), 0.0)
    assert queue.submit(Resume(id="4"), 0.0)[1:] == [Superseded(id="3", by="4")]
    queue.submit(StartRecording(id="5"), 0.0)
    assert queue.submit(StopRecording(id="6"), 0.0)[1:] == [Superseded(id="5", by="6")]
    assert ids(queue.take(1)) == ["2", "6"] and ids(queue.waiting) == ["4"]


def test_frames_once_taken_are_not_said_to_be_of_a_later_freeze():
    queue = ControlQueue()
    queue.submit(SetFreeze(id="1", on=True), 0.0)
    queue.take_for_frames(1)
    queue.submit(SetFreeze(id="2", on=False), 0.0)
    queue.submit(prompt("3"), 0.0)
    assert ids(queue.take(1)) == ["3"]
    assert ids(queue.shown(1, 0, 0, 1.0)) == ["1", "3"]
    queue.take_for_frames(2)
    assert ids(queue.shown(2, 1, 9, 1.0)) == ["2"]


def test_a_patch_that_replaces_another_also_carries_what_that_has_set():
    queue = ControlQueue()
    points = (DepthPoint(x=0.5, y=0.5, value=1),)
    queue.submit(SetDepth(id="1", enabled=False, smoothing=0.2, points=points), 0.0)
    queue.submit(SetDepth(id="2", smoothing=0.7, points=()), 0.0)
    queue.submit(SetDepth(id="3", refinement=0.1), 0.0)
    (taken,) = queue.take(1)
    assert (taken.enabled, taken.smoothing, taken.refinement, taken.points) == (False, 0.7, 0.1, ())
    queue.submit(SetDepth(id="4", smoothing=1.0), 0.0)
    queue.retry(1)
    (taken,) = queue.take(2)
    assert (taken.id, taken.enabled, taken.smoothing) == ("4", False, 1.0)


def test_a_command_in_flight_is_not_superseded():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.take(1)
    assert queue.submit(prompt("2"), 0.0) == [Ack(id="2")]
    assert ids(queue.shown(1, 0, 0, 0.0)) == ["1"]


def test_applied_names_the_first_picture_shown_once():
    queue = ControlQueue()
    queue.submit(prompt("1"), 10.0)
    queue.take(5)
    assert queue.shown(4, 3, 40, 10.2) == []
    assert queue.shown(5, 4, 45, 10.5) == [
        Applied(id="1", command="prompt.set", chunk=4, frame=45, latency_ms=500)
    ]
    assert queue.shown(5, 4, 46, 10.6) == []


def test_applied_even_if_its_own_chunk_was_never_shown():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.take(1)
    queue.submit(SetGuidance(id="2", scale=1.0), 0.0)
    queue.take(2)
    assert ids(queue.shown(3, 2, 30, 1.0)) == ["1", "2"]


def test_how_long_a_command_took_counts_from_its_own_arrival():
    """Also if it stands for another one before it, or has been tried in vain with the chunk before."""
    queue = ControlQueue()
    queue.submit(SetDepth(id="1", smoothing=0.5), 1.0)
    queue.submit(SetDepth(id="2", refinement=0.5), 2.0)
    queue.take(0)
    assert [applied.latency_ms for applied in queue.shown(0, 0, 0, 10.0)] == [8000]
    queue.submit(SetDepth(id="5", smoothing=0.5), 3.0)
    queue.take(1)
    queue.submit(SetDepth(id="3", enabled=False), 4.0)
    queue.submit(prompt("4"), 5.0)
    queue.retry(1)
    assert ids(queue.take(2)) == ["3", "4"]
    queue.retry(2)
    queue.take(3)
    assert [applied.latency_ms for applied in queue.shown(3, 0, 0, 10.0)] == [6000, 5000]


def test_what_needs_no_chunk_is_applied_at_once_with_the_picture_on_show():
    queue = ControlQueue()
    queue.submit(Pause(id="1"), 1.0)
    assert queue.done("1", None, None, 1.25) == [
        Applied(id="1", command="pause", chunk=None, frame=None, latency_ms=250)
    ]
    assert queue.done("1", 1, 2, 3.0) == queue.waiting == []


def test_what_cannot_be_carried_out_is_refused():
    queue = ControlQueue()
    queue.submit(Pause(id="1"), 1.0)
    assert queue.refuse("1", "no") == [ErrorReply(id="1", code="rejected", message="no")]
    assert queue.refuse("1", "no") == queue.take(1) == []


def test_rejected_commands_are_answered_and_forgotten():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.take(1)
    assert queue.reject(1, "too long") == [ErrorReply(id="1", code="rejected", message="too long")]
    assert queue.reject(1, "too long") == []
    assert queue.shown(1, 0, 0, 0.0) == []


def test_the_model_refuses_only_what_it_was_asked_for():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.submit(SetFreeze(id="2", on=True), 0.0)
    queue.take_for_frames(1)
    queue.take(1)
    assert ids(queue.reject(1, "no")) == ["1"]
    queue.take_for_frames(2)
    assert ids(queue.shown(2, 0, 0, 1.0)) == ["2"]


@pytest.mark.parametrize(
    "command",
    [
        SetFreeze(id="1", on=True),
        Pause(id="1"),
        Resume(id="1"),
        SetSeed(id="1", mode="random"),
        StopTimeline(id="1"),
    ],
)
def test_what_the_model_is_not_asked_for_waits_again_unless_replaced(command):
    queue = ControlQueue()
    queue.submit(command, 0.0)
    queue.take_for_frames(1)
    queue.take(1)
    assert queue.reject(1, "no") == [] and queue.waiting == [command]
    queue.take_for_frames(2)
    queue.take(2)
    newer = command.model_copy(update={"id": "2"})
    queue.submit(newer, 1.0)
    assert queue.reject(2, "no") == [Superseded(id="1", by="2")] and queue.waiting == [newer]


@pytest.mark.parametrize(
    "command",
    [
        Reset(id="1"),
        SetGuidance(id="1", scale=1),
        SetDepth(id="1", smoothing=0.5),
        SetControls(id="1", gray=0.5),
        SetTimeline(id="1", steps=(TimelineStep(at=0, text="a"),)),
    ],
)
def test_what_the_model_was_asked_for_is_refused(command):
    queue = ControlQueue()
    queue.submit(command, 0.0)
    queue.take(1)
    assert ids(queue.reject(1, "no")) == ["1"] and queue.waiting == []


def test_answers_that_were_asked_for_are_not_those_that_are_kept():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.known(prompt("1")).clear()
    assert queue.known(prompt("1")) == [Ack(id="1")]


def test_what_is_never_refused_waits_again_before_newer_ones_unless_replaced():
    queue = ControlQueue()
    queue.submit(SetSeed(id="1", mode="random"), 0.0)
    queue.take(1)
    queue.submit(prompt("2"), 0.0)
    assert queue.reject(1, "no") == [] and ids(queue.waiting) == ["1", "2"]
    queue.take(2)
    queue.submit(SetSeed(id="3", mode="fixed"), 0.0)
    error, superseded = queue.reject(2, "no")
    assert (error.id, error.code) == ("2", "rejected") and superseded == Superseded(id="1", by="3")
    assert ids(queue.waiting) == ["3"]


def test_lost_commands_wait_again_before_newer_ones_unless_replaced():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    queue.submit(SetGuidance(id="2", scale=2.0), 0.0)
    queue.take(1)
    queue.submit(Reset(id="3"), 0.4)
    queue.submit(prompt("4", "silver"), 0.5)
    assert queue.retry(1) == [Superseded(id="1", by="4")]
    assert ids(queue.take(2)) == ["4", "2", "3"]
    assert set(ids(queue.shown(2, 0, 0, 1.0))) == {"2", "3", "4"}


def test_a_command_sent_again_has_the_same_answers_and_no_second_effect():
    queue = ControlQueue()
    assert queue.known(prompt("1")) is None
    queue.submit(prompt("1"), 0.0)
    assert queue.known(prompt("1")) == [Ack(id="1")]
    queue.take(1)
    (applied,) = queue.shown(1, 0, 0, 0.5)
    assert queue.known(prompt("1")) == [Ack(id="1"), applied]
    queue.submit(prompt("2"), 1.0)
    queue.submit(prompt("3"), 1.0)
    assert queue.known(prompt("2")) == [Ack(id="2"), Superseded(id="2", by="3")]
    queue.take(2)
    (error,) = queue.reject(2, "no")
    assert queue.known(prompt("3")) == [Ack(id="3"), error]


def test_the_id_of_another_command_is_refused():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    (error,) = queue.known(prompt("1", "silver"))
    assert (error.code, error.field, error.value, error.id) == ("invalid", "id", "1", "1")
    (error,) = queue.known(Reset(id="1"))
    assert error.code == "invalid"


def test_answers_are_remembered_for_so_many_commands():
    queue = ControlQueue()
    for number in range(KNOWN_IDS + 1):
        queue.submit(prompt(str(number)), 0.0)
    assert queue.known(prompt("0")) is None
    assert queue.known(prompt("1")) is not None


def test_rate_limit_allows_a_burst_then_the_rate():
    limit = RateLimit(10.0)
    assert sum(limit.allows(0.0) for _ in range(20)) == 10
    assert not limit.allows(0.05)
    assert sum(limit.allows(0.05 + 0.1 * n) for n in range(1, 21)) == 20
    assert sum(limit.allows(100.0) for _ in range(20)) == 10


def test_heartbeat_is_expected_only_of_peers_that_ping():
    heartbeat = Heartbeat(10.0)
    heartbeat.heard(0.0)
    assert not heartbeat.lost(1000.0)
    heartbeat.heard(1000.0)
    heartbeat.pinged()
    assert not heartbeat.lost(1010.0)
    assert heartbeat.lost(1010.1)
    heartbeat.heard(1011.0)
    assert not heartbeat.lost(1020.0)
