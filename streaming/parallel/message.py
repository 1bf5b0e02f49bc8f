"""Messages from the leader to its followers: which part of a chunk's work is next.

Each is one header of fixed size. Tensors go through the group, with shapes that follow from the header and
from the model, which every rank has: nothing is pickled.
"""

import struct
from dataclasses import astuple, dataclass
from enum import IntEnum


class Kind(IntEnum):
    BEGIN = 1  # make room for a chunk in a ring
    LOAD = 2  # take over what the passes over a chunk read
    PASS = 3  # a pass over the loaded chunk, the clean one too
    FORWARD = 4  # a forward beside the lasting buffers: recache, or a pass with references
    DROP = 5  # a ring is gone
    DEPTH = 6  # estimate the depth of a chunk's pictures


@dataclass(frozen=True, slots=True)
class Message:
    """Fields that a kind has no use for are 0."""

    kind: Kind
    ring: int = 0  # number of a stream's ring, counted by the leader
    end: int = 0  # latents that the leader's ring had seen; 0: it is fresh
    start: int = 0  # index of the first latent
    latents: int = 0
    length: int = 0  # filled tokens of the ring
    controls: int = 0
    references: int = 0  # latents of reference pictures
    frames: int = 0
    rows: int = 0  # of a latent's grid of tokens; in pixels, of pictures
    columns: int = 0
    has_text: bool = False  # another prompt's keys and values follow
    timestep: float = 0.0

    def packed(self) -> bytes:
        return _LAYOUT.pack(*astuple(self))

    @classmethod
    def unpacked(cls, data: bytes) -> "Message":
        """Raises ValueError for what is no message."""
        try:
            kind, *others = _LAYOUT.unpack(data)
        except struct.error as error:
            raise ValueError(f"message: expected {SIZE} bytes, got {len(data)}") from error
        return cls(Kind(kind), *others)


_LAYOUT = struct.Struct("<b10q?d")
SIZE = _LAYOUT.size
