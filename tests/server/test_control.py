from server.control import Change, ControlQueue, Heartbeat, RateLimit
from server.replies import Ack, Applied, ErrorReply, Superseded
from server.requests import Reset, SetGuidance, SetPrompt


def prompt(id: str, text: str = "gold", transition: str = "recache") -> SetPrompt:
    return SetPrompt(id=id, text=text, transition=transition)


def test_every_command_is_acked_and_taken_once():
    queue = ControlQueue()
    assert queue.submit(prompt("1", "gold", "cut"), 0.0) == [Ack(id="1")]
    assert queue.submit(SetGuidance(id="2", scale=0.5), 0.0) == [Ack(id="2")]
    assert queue.submit(Reset(id="3", seed=7), 0.0) == [Ack(id="3")]
    assert queue.take(1) == Change(prompt="gold", transition="cut", guidance_scale=0.5, reset=True, seed=7)
    assert queue.take(2) == Change()


def test_latest_of_a_kind_wins_and_the_other_hears_of_it():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    assert queue.submit(prompt("2", "silver"), 0.0) == [Ack(id="2"), Superseded(id="1", by="2")]
    assert queue.take(1).prompt == "silver"


def test_a_command_in_flight_is_not_superseded():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.take(1)
    assert queue.submit(prompt("2"), 0.0) == [Ack(id="2")]
    assert [a.id for a in queue.shown(1, 0, 0, 0.0)] == ["1"]


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
    assert [a.id for a in queue.shown(3, 2, 30, 1.0)] == ["1", "2"]


def test_rejected_commands_are_answered_and_forgotten():
    queue = ControlQueue()
    queue.submit(prompt("1"), 0.0)
    queue.take(1)
    assert queue.reject(1, "too long") == [ErrorReply(id="1", code="rejected", message="too long")]
    assert queue.reject(1, "too long") == []
    assert queue.shown(1, 0, 0, 0.0) == []


def test_lost_commands_wait_again_unless_replaced():
    queue = ControlQueue()
    queue.submit(prompt("1", "gold"), 0.0)
    queue.submit(SetGuidance(id="2", scale=2.0), 0.0)
    queue.take(1)
    queue.submit(prompt("3", "silver"), 0.5)
    assert queue.retry(1) == [Superseded(id="1", by="3")]
    assert queue.take(2) == Change(prompt="silver", guidance_scale=2.0)
    assert {a.id for a in queue.shown(2, 0, 0, 1.0)} == {"2", "3"}


def test_rate_limit_allows_a_burst_then_the_rate():
    limit = RateLimit(10.0)
    assert sum(limit.allows(0.0) for _ in range(20)) == 10
    assert not limit.allows(0.05)
    assert sum(limit.allows(0.05 + 0.1 * n) for n in range(1, 21)) == 20
    assert sum(limit.allows(100.0) for _ in range(20)) == 10


def test_heartbeat_is_expected_only_of_peers_that_ping():
    heartbeat = Heartbeat(10.0)
    heartbeat.heard(0.0, is_ping=False)
    assert not heartbeat.lost(1000.0)
    heartbeat.heard(1000.0, is_ping=True)
    assert not heartbeat.lost(1010.0)
    assert heartbeat.lost(1010.1)
    heartbeat.heard(1011.0, is_ping=False)
    assert not heartbeat.lost(1020.0)
