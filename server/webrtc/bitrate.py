"""A ceiling for the output's bitrate, below what the receiver says it can take."""

from typing import Protocol

from aiortc import RTCRtpSender

from server.wire.requests import Quality

CEILINGS_BPS: dict[Quality, int] = {"low": 500_000, "medium": 1_000_000, "high": 3_000_000}


class _Encoder(Protocol):
    target_bitrate: int


class BitrateCeiling:
    """Holds a sender's encoder below the ceiling. Call `hold` before each frame.

    aiortc lets the receiver's estimate alone decide, has no public way to lower it, and opens a new encoder
    for each change: so the estimate must be replaced before a frame meets it.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender
        self._estimate = 0  # the receiver's, or the encoder's first guess
        self._set = 0  # by us, as the encoder understood it

    def hold(self, quality: Quality) -> None:
        """Make the smaller of the ceiling and the receiver's estimate the encoder's target."""
        encoder: _Encoder | None = getattr(self._sender, "_RTCRtpSender__encoder", None)
        if encoder is None:  # there is none before the first frame
            return
        if encoder.target_bitrate != self._set:
            self._estimate = encoder.target_bitrate
        encoder.target_bitrate = min(self._estimate, CEILINGS_BPS[quality])
        self._set = encoder.target_bitrate
