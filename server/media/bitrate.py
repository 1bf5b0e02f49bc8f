"""Bits per second of a video for each quality that a client can ask for."""

from server.media.vp8 import NOMINAL_FPS
from server.protocol.requests import Quality

CEILINGS_BPS: dict[Quality, int] = {"low": 500_000, "medium": 1_000_000, "high": 3_000_000}

# With VP8 on a WebSocket, of small pictures; of large ones the ceilings hold. A real clip (carphone) at
# 256x144 has 33, 37 and 40 dB with these, in 85, 260 and 690 kbit/s; as JPEGs 35, 37 and 40 dB, in 900,
# 1190 and 1710 kbit/s.
BITS_PER_PIXEL: dict[Quality, float] = {"low": 0.1, "medium": 0.3, "high": 0.8}


def vp8_bitrate(width: int, height: int, quality: Quality) -> int:
    """Bits per second, of as many pictures as the encoder reckons with."""
    share = BITS_PER_PIXEL[quality] * width * height * NOMINAL_FPS
    return min(CEILINGS_BPS[quality], round(share))
