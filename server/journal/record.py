"""Record of one session in the journal: parts by name, as bytes. No part is looked into here, nor is pickle.

A record that is put has the parts that are new alone; one that is got has all of them:

    magic "DLJR", version (2 bytes), length of the header (4 bytes), CRC-32 of all that follows (4 bytes)
    header: {"moves": 0, "needs": ["session", "latents/0-7", ...], "given": [["session", 1234], ...]}
    the given parts' bytes, one after the other
"""

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

VERSION = 1
MAX_RECORD_BYTES = 32 << 20  # 4 MB at 832x480, and what people uploaded
MAX_HEADER_BYTES = 16 << 10
MAX_PARTS = 64
MAX_MOVES = 1 << 31
SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_MAGIC = b"DLJR"
_FIXED = struct.Struct(">4sHII")
_NAME = re.compile(r"[a-z]+(/[A-Za-z0-9_-]{1,64})?")


class RecordRejected(ValueError):
    """No record of this version, or one beyond the limits; the text says what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Raises RecordRejected for names or sizes that are none."""

    moves: int  # how often the session has gone on in another process; who has moved less is out of date
    needs: tuple[str, ...]  # names of all parts that it is made of
    given: Mapping[str, bytes]  # those that are here, of these

    def __post_init__(self) -> None:
        if isinstance(self.moves, bool) or not 0 <= self.moves <= MAX_MOVES:
            raise RecordRejected(f"moves: expected 0 ... {MAX_MOVES}, got {self.moves}")
        if not 1 <= len(self.needs) <= MAX_PARTS or len(set(self.needs)) != len(self.needs):
            raise RecordRejected(f"needs: expected 1 to {MAX_PARTS} different names, got {len(self.needs)}")
        for name in self.needs:
            if not _NAME.fullmatch(name):
                raise RecordRejected(f"needs: expected names as latents/0-7, got {name[:80]!r}")
        if strange := self.given.keys() - set(self.needs):
            raise RecordRejected(f"given: expected parts that are needed, got {min(strange)[:80]!r}")
        if (size := self.num_bytes) > MAX_RECORD_BYTES:
            raise RecordRejected(f"given: expected at most {MAX_RECORD_BYTES} bytes, got {size}")

    @property
    def num_bytes(self) -> int:
        """Of the parts that are here."""
        return sum(map(len, self.given.values()))

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.needs if name not in self.given)

    def after(self, earlier: "Record | None") -> "Record":
        """With what it needs and `earlier` has."""
        found = {**earlier.given, **self.given} if earlier else self.given
        return Record(self.moves, self.needs, {name: found[name] for name in self.needs if name in found})

    def encode(self) -> bytes:
        header = {
            "moves": self.moves,
            "needs": self.needs,
            "given": [[name, len(part)] for name, part in self.given.items()],
        }
        body = [json.dumps(header, separators=(",", ":")).encode(), *self.given.values()]
        check = 0
        for piece in body:
            check = zlib.crc32(piece, check)
        return b"".join([_FIXED.pack(_MAGIC, VERSION, len(body[0]), check), *body])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises RecordRejected for what is foreign, of another version, cut short or damaged."""
        if len(data) < _FIXED.size or not data.startswith(_MAGIC):
            raise RecordRejected(f"record: expected one that begins with {_MAGIC!r}, got {data[:4]!r}")
        _, version, length, check = _FIXED.unpack_from(data)
        if version != VERSION:
            raise RecordRejected(f"version: expected {VERSION}, got {version}")
        if length > MAX_HEADER_BYTES:
            raise RecordRejected(f"header: expected at most {MAX_HEADER_BYTES} bytes, got {length}")
        if len(data) > _FIXED.size + length + MAX_RECORD_BYTES:
            raise RecordRejected(f"record: expected at most {MAX_RECORD_BYTES} bytes, got {len(data)}")
        if zlib.crc32(memoryview(data)[_FIXED.size :]) != check:
            raise RecordRejected("record: expected another checksum; it is damaged or cut short")
        moves, needs, sizes = _header(data[_FIXED.size : _FIXED.size + length])
        given: dict[str, bytes] = {}
        at = _FIXED.size + length
        for name, size in sizes:
            given[name], at = data[at : at + size], at + size
        if at != len(data) or len(given) != len(sizes):
            raise RecordRejected(f"given: expected {at} bytes in all, got {len(data)}")
        return cls(moves, needs, given)


def _header(text: bytes) -> tuple[int, tuple[str, ...], list[tuple[str, int]]]:
    """moves, needs, and the given parts' names and sizes."""
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    fields = cast(dict[str, object], header) if isinstance(header, dict) else {}
    moves, needs, given = (fields.get(name) for name in ("moves", "needs", "given"))
    if not isinstance(moves, int) or not isinstance(needs, list) or not isinstance(given, list):
        raise RecordRejected(f"header: expected moves, needs and given, got {text[:80]!r}")
    names: list[str] = []
    for name in cast(list[object], needs):
        if not isinstance(name, str):
            raise RecordRejected(f"needs: expected names, got {str(name)[:80]}")
        names.append(name)
    sizes: list[tuple[str, int]] = []
    for entry in cast(list[object], given):
        match entry:
            case [str(name), int(size)] if 0 <= size <= MAX_RECORD_BYTES:
                sizes.append((name, size))
            case _:
                raise RecordRejected(f"given: expected a name and a size, got {str(entry)[:80]}")
    return moves, tuple(names), sizes
