"""Record of a session: what is in effect, the pictures that it speaks of, and its stream's snapshot.

record = SessionRecord.decode(data)          # of the journal
session = LiveSession(id, services, record)  # goes on with it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import ValidationError

from server.journal.record import Record, RecordRejected
from server.media.frames import Rgb
from server.media.images import ImageRejected
from server.media.packed_image import unpack_image
from server.protocol.replies import OutputState
from server.protocol.requests import Message
from server.session.parameters import Parameters

VALUES = "session"  # the part of plain values
_PICTURE = "picture/"  # before an uploaded picture's id


class SessionValues(Message):
    """What is in effect of all that clients can ask for. A recording is not: its file is elsewhere."""

    version: Literal[1] = 1
    time: float  # on the clock of what moves by itself, when this was written
    parameters: Parameters
    paused: bool
    frozen: bool
    output: OutputState
    owner: str | None = None  # mark of who published it; None where nobody needs a token


@dataclass(frozen=True, slots=True, eq=False)
class SessionRecord:
    moves: int  # how often the session has gone on elsewhere, this time included
    values: SessionValues
    pictures: Mapping[str, Rgb]  # uploaded ones in effect, by id
    stream: Mapping[str, bytes]  # the snapshot's parts, for the engine

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Unpacks pictures, up to 0.2 s: call it in a thread. Raises RecordRejected."""
        record = Record.decode(data)
        if record.missing:
            raise RecordRejected(f"given: expected all parts, got none of {', '.join(record.missing)[:200]}")
        try:
            values = SessionValues.model_validate_json(record.given.get(VALUES, b""))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or VALUES
            raise RecordRejected(f"{where}: {first['msg']}") from None
        pictures: dict[str, Rgb] = {}
        for name, part in record.given.items():
            if name.startswith(_PICTURE):
                try:
                    pictures[name.removeprefix(_PICTURE)] = unpack_image(part)
                except ImageRejected as error:
                    raise RecordRejected(f"{name}: {error}") from None
        if lacking := values.parameters.pictures - pictures.keys():
            raise RecordRejected(f"{_PICTURE}{min(lacking)}: expected, got none")
        parts = record.given.items()
        stream = {name: part for name, part in parts if name != VALUES and not name.startswith(_PICTURE)}
        return cls(record.moves + 1, values, pictures, stream)


def picture_part(id: str) -> str:
    """The name of an uploaded picture's part."""
    return _PICTURE + id
