"""What is sent of the pictures that go out, and when one must stand alone."""

import numpy as np
import pytest
from av.error import FFmpegError

from server.media.coded_size import is_vp8_key
from server.media.vp8 import Vp8Encoder
from server.session.broadcast import BroadcastFrame
from server.websocket.flow_control import CreditError
from server.websocket.media_frame import Kind, MediaFrame
from server.websocket.sender import Download


def picture(number: int = 0) -> BroadcastFrame:
    return BroadcastFrame(np.full((48, 64, 3), number, np.uint8), 9 * number)


async def sent(download: Download, number: int = 0) -> MediaFrame | None:
    """The picture of this number, with credit for it."""
    download.allow(download._allowance.sent + 1)
    download.put(picture(number))
    return await download.next("high")


async def test_a_picture_is_sent_once_there_is_one_and_credit_for_it():
    download = Download()
    assert not download.may_send
    assert download.put(picture(1)) is False and not download.may_send, "no credit"
    assert download.put(picture(2)) is True
    download.allow(2)
    assert download.may_send
    frame = await download.next("high")
    assert (frame.kind, frame.sequence, frame.timestamp_us, frame.skipped) == (Kind.JPEG, 0, 200, 1)
    assert not download.may_send, "no picture"
    download.put(picture(3))
    frame = await download.next("high")
    assert (frame.sequence, frame.skipped) == (1, 0)
    download.put(picture(4))
    assert not download.may_send, "no credit"
    with pytest.raises(CreditError):
        download.allow(2)


async def test_the_lower_the_quality_the_fewer_bytes():
    download, noise = Download(), np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    download.allow(3)
    sizes = []
    for quality in ("low", "medium", "high"):
        download.put(BroadcastFrame(noise, 0))
        sizes.append(len((await download.next(quality)).payload))
    assert sizes == sorted(set(sizes))


async def test_each_request_for_vp8_begins_with_a_picture_that_stands_alone():
    download = Download()
    for _ in range(2):
        download.request_codec(Kind.VP8)
        frames = [await sent(download, number) for number in range(3)]
        assert {frame.kind for frame in frames} == {Kind.VP8}
        assert [is_vp8_key(frame.payload) for frame in frames] == [True, False, False]
    download.request_codec(Kind.JPEG)
    assert (await sent(download)).kind is Kind.JPEG
    download.request_codec(Kind.VP8)
    assert is_vp8_key((await sent(download)).payload)


@pytest.mark.parametrize("data", [b"", b"x" * (512 * 1024 + 1)], ids=["nothing", "too much"])
async def test_what_cannot_be_sent_costs_no_credit_and_the_next_stands_alone(monkeypatch, caplog, data):
    download = Download()
    download.request_codec(Kind.VP8)
    await sent(download)
    with monkeypatch.context() as patch:
        patch.setattr(Vp8Encoder, "encode", lambda *_, **__: data)
        assert await sent(download, 1) is None
    assert f"drops a picture of {len(data)} bytes" in caplog.text
    download.put(picture(2))
    assert download.may_send
    frame = await download.next("high")
    assert frame.sequence == 1 and is_vp8_key(frame.payload)


async def test_the_largest_payload_is_sent(monkeypatch):
    download = Download()
    monkeypatch.setattr("server.websocket.sender.encode_jpeg", lambda *_: b"x" * (512 * 1024))
    assert len((await sent(download)).payload) == 512 * 1024


async def test_an_encoder_that_fails_is_replaced_by_jpegs(monkeypatch, caplog):
    def fail(*_: object, **__: object) -> bytes:
        raise FFmpegError(1, "broken")

    download = Download()
    download.request_codec(Kind.VP8)
    with monkeypatch.context() as patch:
        patch.setattr(Vp8Encoder, "encode", fail)
        assert (await sent(download)).kind is Kind.JPEG
    assert (await sent(download)).kind is Kind.JPEG
    assert caplog.text.count("goes on with JPEGs") == 1


async def test_more_skipped_than_the_header_can_say_is_said_as_far_as_it_can(monkeypatch):
    download = Download()
    for number in range(5):
        download.put(picture(number))
    monkeypatch.setattr("server.websocket.sender.MOST_SKIPPED", 3)
    download.allow(1)
    assert (await download.next("high")).skipped == 3
