"""For tests: sounds, coded in packets of 20 ms as a browser sends them."""

import numpy as np

from server.session.sound.opus import BLOCK, OpusEncoder, Samples
from server.session.sound.packets import RATE_HZ, SoundPacket


def tone(seconds: float, hz: float = 440.0, level: float = 8000.0) -> Samples:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.repeat(np.rint(level * np.sin(2 * np.pi * hz * times)).astype(np.int16)[:, None], 2, axis=1)


def click(seconds: float, at: float) -> Samples:
    """Silence with 5 ms of a loud tone `at` seconds."""
    samples = np.zeros((round(seconds * RATE_HZ), 2), np.int16)
    begin = round(at * RATE_HZ)
    samples[begin : begin + 240] = tone(0.005, 2000.0, 20_000.0)
    return samples


def coded(samples: Samples) -> list[bytes]:
    encoder = OpusEncoder()
    return [encoder.encode(samples[at : at + BLOCK]) for at in range(0, len(samples) // BLOCK * BLOCK, BLOCK)]


def packets(samples: Samples, begin: int = 0) -> list[SoundPacket]:
    """The first begins at the position `begin`."""
    return [SoundPacket(begin + n * BLOCK, data) for n, data in enumerate(coded(samples))]


def loudest(samples: Samples) -> int:
    """Where the loudest sample is."""
    return int(np.argmax(np.abs(samples[:, 0].astype(np.int32))))


def roughness(samples: Samples) -> float:
    """The largest second difference: a click has a large one."""
    return float(np.abs(np.diff(samples[:, 0].astype(np.int64), 2)).max())
