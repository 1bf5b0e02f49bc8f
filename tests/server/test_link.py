import json

import pytest

from server.link import ControlLink
from server.metrics import Metrics
from server.protocol import MAX_MESSAGES_PER_SECOND
from server.replies import Dropped, Latency, Telemetry
from server.requests import SetPrompt


@pytest.fixture
def sent():
    return []


@pytest.fixture
def link(sent):
    link = ControlLink(10.0, Metrics())
    link.attach(lambda text: sent.append(json.loads(text)))
    return link


def test_requests_of_the_session_are_handed_on(link, sent):
    assert link.receive('{"type":"prompt.set","id":"1","text":"gold"}', 0.0) == SetPrompt(id="1", text="gold")
    assert sent == []


def test_ping_is_answered_here(link, sent):
    assert link.receive('{"type":"ping","id":"4"}', 0.0) is None
    assert sent == [{"type": "pong", "id": "4"}]


def test_what_is_wrong_is_answered_in_full(link, sent):
    assert link.receive('{"type":"guidance.set","id":"1","scale":9}', 0.0) is None
    assert sent == [
        {
            "type": "error",
            "id": "1",
            "code": "invalid",
            "field": "scale",
            "value": "9",
            "expected": "a number from 0 to 2",
            "message": "scale: got 9, expected a number from 0 to 2",
        }
    ]


def test_too_many_messages_are_refused_not_handled(link, sent):
    for number in range(int(MAX_MESSAGES_PER_SECOND) + 1):
        link.receive(json.dumps({"type": "ping", "id": str(number)}), 0.0)
    assert [m["type"] for m in sent].count("pong") == MAX_MESSAGES_PER_SECOND
    assert sent[-1]["code"] == "rate" and "50 messages a second" in sent[-1]["expected"]


def test_peer_is_lost_only_after_its_own_silence(link):
    assert not link.is_lost(1e6)
    link.receive('{"type":"ping","id":"1"}', 0.0)
    link.receive("nonsense is a sign of life", 9.0)
    assert not link.is_lost(19.0)
    assert link.is_lost(19.1)


def test_without_channels_nothing_is_sent_and_nothing_raises():
    link = ControlLink(10.0, Metrics())
    link.receive('{"type":"ping","id":"1"}', 0.0)
    figures = Telemetry(fps=1.0, chunk=None, latency_ms=Latency(), dropped=Dropped(), state="waiting")
    link.send_telemetry(figures)
    got = []
    link.attach_telemetry(got.append)
    link.send_telemetry(figures)
    assert json.loads(got[0])["type"] == "telemetry"
