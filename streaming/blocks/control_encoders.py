"""A control video as a stream: pictures, or nothing, chunk by chunk -> latents.

Half of the control videos are empty (mid-grey) for ever: what depth guidance leaves untouched, what
references alone ask to follow. An empty video's encoding depends on no input, so it is computed once for all
streams, and a stream pays for an encoder only while there are pictures, or were some that the encoder still
remembers.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# The encoding of an empty video is constant once the stream is longer than the encoder's memory (Wan: 112
# frames, 11 chunks). A network that has not settled by then only rounds differently from chunk to chunk.
EMPTY_CHUNKS_KEPT = 32


class AutoencoderSizes(Protocol):
    @property
    def latent_channels(self) -> int: ...
    @property
    def time_stride(self) -> int: ...
    @property
    def space_stride(self) -> int: ...


class StreamAutoencoder(Protocol):
    """Any autoencoder whose `encode` is a pure function of (video, cache), cache None at a stream's start."""

    @property
    def config(self) -> AutoencoderSizes: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def encode(self, video: Tensor, cache: Any, /) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True, slots=True)
class ControlEncoderState:
    """What one control video of one stream remembers: a value."""

    cache: Any = None  # None: as if nothing but empty chunks had been encoded
    empty_chunks: int = 0  # empty chunks since the last picture


class ControlEncoders:
    """Encodes the control videos of all streams of one autoencoder and picture size."""

    def __init__(
        self, autoencoder: StreamAutoencoder, *, height: int, width: int, first: int, later: int
    ) -> None:
        """`first` and `later`: frames of a stream's first and of every later chunk."""
        self._autoencoder = autoencoder
        self._frames = (first, later)
        self._size = (height, width)
        self._empty: dict[Hashable, _EmptyVideo] = {}

    def advance(
        self, state: ControlEncoderState, video: Tensor | None, *, chunk: int, batch: int
    ) -> tuple[Tensor, ControlEncoderState]:
        """Encode chunk `chunk` of a control video, (B, T, 3, H, W) or None where it is empty -> latents (B,
        F, C, h, w) and the state after it."""
        empty = self.empty_video(batch)
        if video is None and state.cache is None:
            return empty.latents(chunk), state
        cache = empty.cache_before(chunk) if state.cache is None else state.cache
        latents, cache = self._autoencoder.encode(empty.frames(chunk) if video is None else video, cache)
        empty_chunks = state.empty_chunks + 1 if video is None else 0
        has_forgotten = empty.settled_after is not None and empty_chunks >= empty.settled_after
        return latents, ControlEncoderState() if has_forgotten else ControlEncoderState(cache, empty_chunks)

    def empty_video(self, batch: int) -> "_EmptyVideo":
        weight = next(self._autoencoder.parameters())
        key = (batch, weight.device, weight.dtype)
        if key not in self._empty:
            zero = torch.zeros((), device=weight.device, dtype=weight.dtype)
            first, later = (zero.expand(batch, frames, 3, *self._size) for frames in self._frames)
            self._empty[key] = _EmptyVideo(self._autoencoder, first, later)
        return self._empty[key]


class _EmptyVideo:
    """Encodings of a mid-grey video without end, computed as far as they are asked for."""

    def __init__(self, autoencoder: StreamAutoencoder, first: Tensor, later: Tensor) -> None:
        """`first` and `later`: the zero frames (B, T, 3, H, W) of the first and of every later chunk."""
        self._autoencoder = autoencoder
        self._first, self._later = first, later
        self._latents: list[Tensor] = []
        self._cache: Any = None  # after the newest of _latents
        self.settled_after: int | None = None  # chunks after which nothing changes any more, once known

    def frames(self, chunk: int) -> Tensor:
        return self._later if chunk else self._first

    def latents(self, chunk: int) -> Tensor:
        while self.settled_after is None and chunk >= len(self._latents):
            self._extend()
        return self._latents[min(chunk, len(self._latents) - 1)]

    def cache_before(self, chunk: int) -> Any:
        """The cache of a stream whose first `chunk` chunks were empty.

        Only the newest is kept (one can be a gigabyte): asking for an earlier one computes it again.
        """
        if chunk == 0:
            return None
        self.latents(chunk - 1)
        if chunk >= len(self._latents):
            return self._cache
        cache = None
        for index in range(chunk):
            _, cache = self._autoencoder.encode(self.frames(index), cache)
        return cache

    def settle(self) -> int:
        """Compute all there is; returns `settled_after`."""
        while self.settled_after is None:
            self._extend()
        return self.settled_after

    def _extend(self) -> None:
        count = len(self._latents)
        latents, self._cache = self._autoencoder.encode(self.frames(count), self._cache)
        is_constant = count > 1 and torch.equal(latents, self._latents[-1])
        if is_constant or count == EMPTY_CHUNKS_KEPT:
            self.settled_after = count
        else:
            self._latents.append(latents)
