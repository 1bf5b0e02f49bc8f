"""What one client may send: more is lost, much more is the end."""

import pytest

from server.protocol.codec import MAX_MESSAGE_BYTES, MAX_MESSAGES_PER_SECOND
from server.session.message_limit import MAX_BYTES_PER_SECOND, MOST_REFUSED, TOLD_EVERY_S, MessageLimit

RATE = int(MAX_MESSAGES_PER_SECOND)


def judged(limit: MessageLimit, count: int, now: float, size: int = 40) -> list[str]:
    return [limit.judge(size, now) for _ in range(count)]


def test_law_what_is_too_much_is_told_once_and_then_ignored():
    limit = MessageLimit()
    assert judged(limit, RATE, 0.0) == ["taken"] * RATE
    assert judged(limit, 3, 0.0) == ["refused", "ignored", "ignored"]
    assert not limit.is_exceeded


def test_law_who_floods_is_cut_off_and_stays_so():
    limit = MessageLimit()
    judged(limit, RATE + MOST_REFUSED, 0.0)
    assert not limit.is_exceeded
    judged(limit, 1, 0.0)
    assert limit.is_exceeded
    assert "taken" not in judged(limit, 10, 3600.0)


def test_law_who_sends_a_little_too_much_for_ever_is_never_cut_off():
    limit = MessageLimit()
    verdicts = [limit.judge(40, number / (RATE + 5)) for number in range(RATE * 600)]
    assert not limit.is_exceeded
    assert verdicts.count("taken") == pytest.approx(RATE * RATE * 600 / (RATE + 5), rel=0.01)
    assert verdicts.count("refused") <= RATE * 600 / (RATE + 5) / TOLD_EVERY_S


def test_long_messages_count_by_their_bytes():
    limit = MessageLimit()
    most = MAX_BYTES_PER_SECOND // MAX_MESSAGE_BYTES
    assert judged(limit, most + 1, 0.0, MAX_MESSAGE_BYTES) == ["taken"] * most + ["refused"]
    assert limit.judge(MAX_MESSAGE_BYTES, 1.0) == "taken"


def test_a_kind_of_message_may_have_a_rate_of_its_own():
    limit = MessageLimit(2.0)
    assert judged(limit, 3, 0.0) == ["taken", "taken", "refused"]
