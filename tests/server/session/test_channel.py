import json

import pytest

from server.metrics import Metrics
from server.protocol.codec import MAX_MESSAGES_PER_SECOND
from server.protocol.replies import Dropped, ErrorReply, Latency, Pong, Telemetry
from server.protocol.requests import SetPrompt
from server.session.channel import MAX_CLIENTS, ClientChannels, TooManyClients
from server.session.message_limit import MessageLimit


@pytest.fixture
def sent():
    return []


@pytest.fixture
def channels(sent):
    channels = ClientChannels(10.0, Metrics())
    channels.attach(lambda text: sent.append(json.loads(text)))
    return channels


def test_requests_of_the_session_are_handed_on(channels, sent):
    raw = '{"type":"prompt.set","id":"1","text":"gold"}'
    assert channels.read(raw, 0.0, is_peer=True) == SetPrompt(id="1", text="gold")
    assert sent == []


def test_ping_is_answered_here(channels):
    assert channels.read('{"type":"ping","id":"4"}', 0.0, is_peer=True) == Pong(id="4")


def test_what_is_wrong_is_answered_in_full(channels):
    assert channels.read('{"type":"guidance.set","id":"1","scale":9}', 0.0, is_peer=True) == ErrorReply(
        id="1",
        code="invalid",
        field="scale",
        value="9",
        expected="a number from 0 to 2",
        message="scale: got 9, expected a number from 0 to 2",
    )


def test_too_many_messages_are_refused_not_handled(channels):
    *answers, last = [
        channels.read(json.dumps({"type": "ping", "id": str(number)}), 0.0, is_peer=True)
        for number in range(int(MAX_MESSAGES_PER_SECOND) + 1)
    ]
    assert {type(answer) for answer in answers} == {Pong}
    assert last.code == "rate" and "50 messages a second" in last.expected


def test_peer_is_lost_only_after_its_own_silence(channels):
    assert not channels.is_lost(1e6)
    channels.read('{"type":"ping","id":"1"}', 0.0, is_peer=True)
    channels.read("nonsense is a sign of life", 9.0, is_peer=True)
    channels.read('{"type":"ping","id":"2"}', 19.0, is_peer=False)  # of somebody else's
    assert not channels.is_lost(19.0)
    assert channels.is_lost(19.1)


def test_somebody_elses_ping_promises_nothing_for_the_peer(channels):
    channels.read('{"type":"stats","id":"1"}', 0.0, is_peer=True)
    channels.read('{"type":"ping","id":"2"}', 0.0, is_peer=False)
    assert not channels.is_lost(1e6)


def test_law_what_one_connection_sends_too_much_takes_nothing_from_another(channels):
    ping, noisy, quiet = '{"type":"ping","id":"1"}', MessageLimit(), MessageLimit()
    for tenth in range(300):
        noise = [channels.read(ping, tenth / 10, is_peer=False, limit=noisy) for _ in range(10)]
        assert channels.read(ping, tenth / 10, is_peer=True, limit=quiet) == Pong(id="1")
    assert noise[-1] is None, "it has been told"


def test_what_is_ignored_is_still_a_sign_of_life(channels):
    ping, limit = '{"type":"ping","id":"1"}', MessageLimit()
    answers = [channels.read(ping, 0.0, is_peer=True, limit=limit) for _ in range(60)]
    assert answers[-1] is None
    channels.read(ping, 0.1, is_peer=True, limit=limit)
    assert not channels.is_lost(10.1) and channels.is_lost(10.2)


def test_bytes_that_are_no_utf_8_are_answered(channels):
    answer = channels.read(b'{"type": "ping", "id": "\xff"}', 0.0, is_peer=True)
    assert (answer.code, answer.field, answer.expected) == ("invalid", "message", "UTF-8 text")
    assert "b'" not in answer.message


def test_another_connection_of_the_peer_has_promised_no_heartbeat_yet(channels):
    ping = '{"type":"ping","id":"1"}'
    channels.read(ping, 0.0, is_peer=True)
    channels.peer_changed()
    assert not channels.is_lost(1000.0)
    channels.read("nonsense is no ping", 1000.0, is_peer=True)
    assert not channels.is_lost(2000.0)
    channels.read(ping, 2000.0, is_peer=True)
    assert not channels.is_lost(2010.0) and channels.is_lost(2010.1)


def test_a_message_that_is_answered_by_an_error_keeps_its_id_and_is_counted(sent):
    metrics = Metrics()
    channels = ClientChannels(10.0, metrics)
    error = channels.read('{"type":"fly","id":"7"}', 0.0, is_peer=False)
    assert (error.code, error.id, error.field) == ("invalid", "7", "type")
    channels.attach(sent.append)
    channels.send(error, Pong(id="1"))
    channels.reply(sent.append, error)
    assert b'depthlive_errors_total{code="invalid"} 2.0' in metrics.render()
    assert len(sent) == 3


def test_without_channels_nothing_is_sent_and_nothing_raises():
    channels = ClientChannels(10.0, Metrics())
    channels.send(Pong(id="1"))
    figures = Telemetry(fps=1.0, chunk=None, latency_ms=Latency(), dropped=Dropped(), state="waiting")
    channels.send_telemetry(figures)
    got = []
    assert not channels.is_watched
    detach = channels.attach_telemetry(got.append)
    assert channels.is_watched
    channels.send_telemetry(figures)
    assert json.loads(got[0])["type"] == "telemetry"
    detach()
    channels.send_telemetry(figures)
    assert not channels.is_watched and len(got) == 1


def test_those_who_take_telemetry_are_limited_apart_from_those_who_take_messages(channels):
    for _ in range(MAX_CLIENTS):
        channels.attach_telemetry(lambda text: None)
    with pytest.raises(TooManyClients):
        channels.attach_telemetry(lambda text: None)
    channels.attach(lambda text: None)


def test_news_go_to_all_clients_and_answers_to_one(channels, sent):
    other = []
    detach = channels.attach(other.append)
    channels.send(Pong(id="1"))
    channels.reply(other.append, Pong(id="2"))
    assert [m["id"] for m in sent] == ["1"] and [json.loads(m)["id"] for m in other] == ["1", "2"]
    detach()
    detach()
    channels.send(Pong(id="3"))
    assert len(other) == 2 and len(sent) == 2


def test_clients_are_limited(channels):
    detach = [channels.attach(lambda text: None) for _ in range(MAX_CLIENTS - 1)]
    with pytest.raises(TooManyClients, match=f"{MAX_CLIENTS} clients"):
        channels.attach(lambda text: None)
    detach[0]()
    channels.attach(lambda text: None)
