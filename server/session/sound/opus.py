"""Opus, by way of PyAV: packets to samples and back. For one thread at a time."""

from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av import AudioFrame, AudioResampler, Packet
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from numpy.typing import NDArray

from server.session.sound.packets import RATE_HZ

Samples = NDArray[np.int16]  # (T, 2), left and right, at 48 kHz

CHANNELS = 2
LOOK_AHEAD = 312  # samples by which what is decoded lies after what was coded: 6.5 ms
BLOCK = 960  # samples coded at once: 20 ms
BITS_PER_SECOND = 96_000


class OpusDecoder:
    """One stream of packets, in order."""

    def __init__(self) -> None:
        self._codec = _codec("r")

    def decode(self, data: bytes) -> Samples:
        """The packet's samples; none of one that cannot be read. At most 120 ms, as the format has it."""
        try:
            frames = self._codec.decode(Packet(data))  # pyright: ignore[reportUnknownMemberType] -- Packet is generic
        except FFmpegError:
            return np.zeros((0, CHANNELS), np.int16)
        return np.concatenate([_samples(frame) for frame in frames] or [np.zeros((0, CHANNELS), np.int16)])


class OpusEncoder:
    """One stream of blocks."""

    def __init__(self) -> None:
        self._codec = _codec("w")
        self._codec.bit_rate = BITS_PER_SECOND
        self._codec.time_base = Fraction(1, RATE_HZ)

    def encode(self, samples: Samples) -> bytes:
        """One packet of (BLOCK, 2) samples."""
        # av.Packet is generic, and av does not say of what.
        packets = self._codec.encode(_frame(samples))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return b"".join(bytes(packet) for packet in packets)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _frame(samples: Samples) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
    frame.sample_rate = RATE_HZ
    return frame


def _codec(mode: Literal["r", "w"]) -> AudioCodecContext:
    codec: AudioCodecContext = av.AudioCodecContext.create("libopus", mode)
    codec.sample_rate = RATE_HZ
    codec.format, codec.layout = "s16", "stereo"
    return codec


def _samples(frame: AudioFrame) -> Samples:
    if frame.format.name != "s16" or frame.layout.nb_channels != CHANNELS:
        (frame,) = AudioResampler("s16", "stereo", RATE_HZ).resample(frame)
    return frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, CHANNELS)
