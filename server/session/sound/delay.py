"""Delay of a session's sound: blocks of samples out of coded packets, at a place that follows the pictures.

Pure but for the codec; made for one thread. A small error of place is made good by playing up to 0.83 %
faster or slower, a large one by a skip: forwards across a crossfade, backwards by silence until the time has
come, as no word is to be heard twice.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.session.sound.opus import BLOCK, CHANNELS, OpusDecoder, Samples
from server.session.sound.packets import SoundPacket

STRETCH = 8  # samples that a block may take more, or less, than it gives: 0.83 %
BEGIN, END = 480, 48  # samples of error at which that begins and ends: 10 and 1 ms
SKIP = 1920  # samples of error beyond which it would take too long: 40 ms, five seconds
FADE = 240  # samples of each end of sound: 5 ms, so that it does not click
AHEAD = 1920  # samples that are decoded before they are heard, to fade out what ends
WARM_UP = 2880  # samples decoded for nobody, from which a decoder finds its way in
OVERLAP = 60  # samples of two packets; one that begins earlier is not worth the decoding
_RISE: NDArray[np.float32] = np.linspace(0, 1, FADE, dtype=np.float32)[:, None]


class DelayedSound:
    """Renders one block after another.

    sound = DelayedSound()
    packets = held.take(sound.needs(target))
    samples = sound.render(target, packets)       # (BLOCK, 2)
    """

    def __init__(self) -> None:
        self.place: int | None = None  # the position heard next; None: it is silent
        self.rejected = 0  # packets that could not be decoded, or whose time was taken by others
        self._decoder = OpusDecoder()
        self._start = 0  # position of the first sample of
        self._samples: Samples = np.zeros((0, CHANNELS), np.int16)
        self._is_stretching = False
        self._fades_in = True

    def needs(self, target: int) -> int:
        """Before which position packets must begin to be of use for the next block."""
        return max(target, self.place or target) + BLOCK + STRETCH + AHEAD

    def render(self, target: int | None, packets: Sequence[SoundPacket]) -> Samples:
        """The next block, (BLOCK, 2). `target`: the position that belongs to its begin; None: silence.

        `packets`: those that begin before `needs(target)` and have not been given yet, in order.
        """
        if target is None:
            return self._fall_silent()
        if self.place is None:
            self._begin(target)
        for position, data in packets:
            self._add(position, data)
        assert self.place is not None
        error = target - self.place
        if error > SKIP:
            block = self._skip_to(target)
        elif error < -SKIP or (self._fades_in and error < 0):
            block = self._wait(-error)
        else:
            block = self._play(error)
        self._trim()
        return block

    def _begin(self, target: int) -> None:
        self._decoder = OpusDecoder()
        self._start, self._samples = target - WARM_UP, self._samples[:0]
        self.place, self._is_stretching, self._fades_in = target, False, True

    def _fall_silent(self) -> Samples:
        """Once more what comes next, ever softer, then nothing."""
        block = np.zeros((BLOCK, CHANNELS), np.int16)
        if self.place is not None:
            if not self._fades_in:
                block[:FADE] = self._read(self.place, FADE) * _RISE[::-1]
            self.place = None
        return block

    def _play(self, error: int) -> Samples:
        """At the right place, or on the way there."""
        assert self.place is not None
        self._is_stretching = abs(error) > (END if self._is_stretching else BEGIN)
        taken = BLOCK
        if self._is_stretching:
            taken += int(np.clip(round(error / 4), -STRETCH, STRETCH)) or int(np.sign(error))
        place, self.place = self.place, self.place + taken
        if taken == BLOCK:
            return self._softly(self._read(place, BLOCK))
        return self._softly(_resampled(self._read(place - 1, taken + 3), taken))

    def _skip_to(self, target: int) -> Samples:
        assert self.place is not None
        block = self._read(target, BLOCK).copy()
        block[:FADE] = block[:FADE] * _RISE
        if not self._fades_in:
            block[:FADE] += (self._read(self.place, FADE) * _RISE[::-1]).astype(np.int16)
        self._fades_in = False
        self.place, self._is_stretching = target + BLOCK, False
        return block

    def _wait(self, ahead: int) -> Samples:
        """Silent for the `ahead` samples that were heard too early, or for the whole block."""
        assert self.place is not None
        block = np.zeros((BLOCK, CHANNELS), np.int16)
        if not self._fades_in:  # it ends here; these few are heard again, softly
            block[:FADE] = self._read(self.place, FADE) * _RISE[::-1]
            self._fades_in = True
        if ahead <= BLOCK - FADE:
            block[ahead:] = self._softly(self._read(self.place, BLOCK - ahead))
            self.place += BLOCK - ahead
        return block

    def _softly(self, samples: Samples) -> Samples:
        if self._fades_in:
            samples = samples.copy()
            samples[:FADE] = samples[:FADE] * _RISE
            self._fades_in = False
        return samples

    # The samples that are decoded.

    @property
    def _end(self) -> int:
        return self._start + len(self._samples)

    def _add(self, position: int, data: bytes) -> None:
        """Decode a packet and put it in its place; what is missing before it is silence."""
        if position < self._start:
            return  # older than anybody asks for
        if position < self._end - OVERLAP:
            self.rejected += 1
            return
        samples = self._decoder.decode(data)[max(0, self._end - position) :]
        if not len(samples):
            self.rejected += 1
            return
        if self._pad(position):
            samples = samples.copy()
            count = min(FADE, len(samples))
            samples[:count] = samples[:count] * _RISE[:count]
        self._samples = np.concatenate([self._samples, samples])

    def _pad(self, end: int) -> bool:
        """Silence up to `end`, after a soft end; says whether there was any need."""
        missing = end - self._end
        if missing <= 0:
            return False
        if count := min(FADE, len(self._samples)):
            self._samples = self._samples.copy()
            self._samples[-count:] = self._samples[-count:] * _RISE[::-1][-count:]
        self._samples = np.concatenate([self._samples, np.zeros((missing, CHANNELS), np.int16)])
        return True

    def _read(self, position: int, count: int) -> Samples:
        if self._end < position + count + FADE:  # it ends here: softly, while that has not been heard
            self._pad(position + count + FADE)
        at = position - self._start
        return self._samples[at : at + count]

    def _trim(self) -> None:
        """Let go of what is heard no more, but for what `_resampled` looks back at."""
        assert self.place is not None
        surplus = self.place - 1 - self._start
        if surplus > 0:
            self._start, self._samples = self._start + surplus, self._samples[surplus:]


def _resampled(samples: Samples, taken: int) -> Samples:
    """BLOCK samples out of `taken`, (taken + 3, 2): one before and two after them, too (Catmull-Rom)."""
    places = np.arange(BLOCK) * (taken / BLOCK)
    whole = places.astype(np.int64)
    part = (places - whole).astype(np.float32)[:, None]
    before, left, right, after = (samples[whole + k].astype(np.float32) for k in range(4))
    slope, slope_after = (right - before) / 2, (after - left) / 2
    bend = 3 * (right - left) - 2 * slope - slope_after
    twist = 2 * (left - right) + slope + slope_after
    curve = left + part * (slope + part * (bend + part * twist))
    return np.clip(np.rint(curve), -32768, 32767).astype(np.int16)
