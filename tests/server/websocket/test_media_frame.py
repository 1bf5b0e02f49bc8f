"""The binary messages of the media WebSocket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.websocket.media_frame import (
    HEADER,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_TIMESTAMP_US,
    MOST_SKIPPED,
    PICTURES,
    FrameError,
    Kind,
    MediaFrame,
    decode_frame,
)

SENT = st.builds(
    MediaFrame,
    kind=st.sampled_from(PICTURES),
    sequence=st.integers(0, 2**32 - 1),
    timestamp_us=st.integers(0, MAX_TIMESTAMP_US),
    skipped=st.integers(0, MOST_SKIPPED),
    payload=st.binary(min_size=1, max_size=100),
)
CREDITS = st.builds(MediaFrame, kind=st.just(Kind.CREDIT), sequence=st.integers(0, 2**32 - 1))


CODEC_REQUESTS = st.builds(MediaFrame, kind=st.just(Kind.CODEC_REQUEST), sequence=st.sampled_from(PICTURES))


@given(SENT | CREDITS | CODEC_REQUESTS)
def test_what_is_encoded_comes_back(frame):
    assert decode_frame(frame.encode()) == frame


@given(st.binary(max_size=64))
def test_any_bytes_are_a_frame_or_an_error_in_words(data):
    try:
        frame = decode_frame(data)
    except FrameError as error:
        assert "expected" in str(error)
    else:
        assert frame.encode() == data


def test_the_header_is_the_one_of_the_protocol():
    frame = MediaFrame(Kind.JPEG, sequence=258, timestamp_us=1_000_000, skipped=3, payload=b"\xff\xd8")
    assert frame.encode().hex(" ") == "01 01 00 03 00 00 01 02 00 00 00 00 00 0f 42 40 ff d8"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x01\x01", "2 bytes: expected a header of 16"),
        (HEADER.pack(2, 1, 0, 0, 0) + b"x", "version: got 2, expected 1"),
        (HEADER.pack(1, 9, 0, 0, 0) + b"x", "kind: got 9, expected 0 to 3"),
        (HEADER.pack(1, 1, 0, 0, 2**53) + b"x", "timestamp: got 9007199254740992"),
        (HEADER.pack(1, 1, 0, 0, 0), "payload: 0 bytes"),
        (HEADER.pack(1, 0, 0, 5, 0) + b"x", "payload: 1 bytes"),
        (HEADER.pack(1, 2, 0, 0, 0), "payload: 0 bytes"),
        (HEADER.pack(1, 3, 0, 2, 0) + b"x", "payload: 1 bytes"),
        (HEADER.pack(1, 3, 0, 3, 0), "wanted: got 3, expected 1 or 2"),
        (HEADER.pack(1, 1, 0, 0, 0) + bytes(MAX_PAYLOAD_BYTES + 1), "expected at most 524288"),
    ],
)
def test_what_is_wrong_is_said(data, words):
    with pytest.raises(FrameError, match=words):
        decode_frame(data)


def test_the_protocols_limits_themselves_are_within_them():
    """Documented in PROTOCOL.md: 512 KiB, 2^53 - 1, 2^16 - 1."""
    frame = MediaFrame(Kind.VP8, 2**32 - 1, 2**53 - 1, 2**16 - 1, bytes(512 * 1024))
    assert decode_frame(frame.encode()) == frame
    with pytest.raises(FrameError, match="out of range"):
        MediaFrame(Kind.JPEG, 0, skipped=2**16, payload=b"x").encode()


def test_what_has_no_place_in_the_header_is_refused():
    with pytest.raises(FrameError, match="out of range"):
        MediaFrame(Kind.CREDIT, sequence=2**32).encode()


def test_the_largest_message_is_one_that_can_be_decoded():
    frame = MediaFrame(Kind.JPEG, 0, payload=bytes(MAX_PAYLOAD_BYTES))
    assert len(frame.encode()) == MAX_MESSAGE_BYTES
    assert decode_frame(frame.encode()) == frame
