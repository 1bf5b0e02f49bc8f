"""Binary message of the media WebSocket: 16 bytes of header, then, for a picture, its bytes.

Pictures are JPEGs until the other side wants VP8; and JPEGs may be sent instead at any time.

version u8 = 1 | kind u8 | skipped u16 | sequence u32 | timestamp u64, big-endian
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
HEADER = struct.Struct("!BBHIQ")
MAX_PAYLOAD_BYTES = 512 * 1024  # a 1280x720 JPEG of good quality has a third of it
MAX_MESSAGE_BYTES = HEADER.size + MAX_PAYLOAD_BYTES
MOST_SKIPPED = 2**16 - 1
MAX_TIMESTAMP_US = 2**53 - 1  # beyond it a browser's numbers are not exact


class Kind(IntEnum):
    CREDIT = 0  # `sequence`: how many pictures the other side may have sent in all; no payload
    JPEG = 1
    VP8 = 2  # builds on all pictures before it, back to a key frame
    CODEC_REQUEST = 3  # `sequence`: JPEG or VP8, from now on; VP8 begins with a key frame; no payload


PICTURES = (Kind.JPEG, Kind.VP8)


class FrameError(ValueError):
    """Not a message of this form; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class MediaFrame:
    """One binary message."""

    kind: Kind
    sequence: int  # of a picture: counts those sent, from 0
    timestamp_us: int = 0  # when it was taken, on the sender's clock, of any origin
    skipped: int = 0  # pictures that the sender dropped just before this one, at most MOST_SKIPPED
    payload: bytes = b""

    def encode(self) -> bytes:
        """Raises FrameError for what has no place in the header."""
        try:
            header = HEADER.pack(VERSION, self.kind, self.skipped, self.sequence, self.timestamp_us)
        except struct.error as error:
            raise FrameError(f"out of range: {error}") from error
        return header + self.payload


def decode_frame(data: bytes) -> MediaFrame:
    """One binary message. Raises FrameError."""
    if len(data) < HEADER.size:
        raise FrameError(f"{len(data)} bytes: expected a header of {HEADER.size}")
    version, number, skipped, sequence, timestamp = HEADER.unpack_from(data)
    if version != VERSION:
        raise FrameError(f"version: got {version}, expected {VERSION}")
    try:
        kind = Kind(number)
    except ValueError as error:
        raise FrameError(f"kind: got {number}, expected {Kind.CREDIT} to {Kind.CODEC_REQUEST}") from error
    if timestamp > MAX_TIMESTAMP_US:
        raise FrameError(f"timestamp: got {timestamp}, expected at most {MAX_TIMESTAMP_US}")
    payload = data[HEADER.size :]
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FrameError(f"payload: {len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}")
    if (kind in PICTURES) != bool(payload):
        raise FrameError(f"payload: {len(payload)} bytes, expected some with a picture and none without")
    if kind is Kind.CODEC_REQUEST and sequence not in PICTURES:
        raise FrameError(f"wanted: got {sequence}, expected {Kind.JPEG} or {Kind.VP8}")
    return MediaFrame(kind, sequence, timestamp, skipped, payload)
