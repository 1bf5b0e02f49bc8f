"""What a session's commands need of it, and what the pictures that come of it are made with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from server.media.frames import Picture
from server.media.snapshot import SnapshotParameters
from server.protocol.replies import Stats
from server.session.parameters import Parameters
from streaming.api import EngineInfo


class Stage(Protocol):
    """The stream, as its command handler sees it. LiveSession is one."""

    @property
    def failure(self) -> str | None:
        """Why the session has failed for good; None while it has not."""
        ...

    @property
    def picture(self) -> Picture | None:
        """The generated picture on show."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a chunk is with the model."""
        ...

    def expect(self, texts: Sequence[str]) -> None:
        """A chunk to come will have these prompts."""
        ...

    def stats(self, id: str) -> Stats: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def freeze(self, on: bool) -> None: ...
    def limit_fps(self, fps: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Making:
    """What one chunk was made with."""

    parameters: Parameters
    guidance_scale: float  # in effect

    def of(self, picture: Picture, info: EngineInfo) -> SnapshotParameters:
        """The same for one picture of the chunk, shown now."""
        return SnapshotParameters(
            model=info.model,
            prompts=self.parameters.prompts,
            seed=self.parameters.current_seed,
            chunk=picture.chunk,
            frame=picture.frame,
            guidance_scale=self.guidance_scale,
            steps=self.parameters.steps or info.steps,
            time=datetime.now(UTC),
        )
