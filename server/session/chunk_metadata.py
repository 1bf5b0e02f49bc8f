"""Metadata of a chunk: what its pictures were made with."""

from dataclasses import dataclass
from datetime import UTC, datetime

from server.media.frames import Picture
from server.media.snapshot import SnapshotParameters
from server.session.parameters import Parameters
from streaming.api import EngineInfo


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
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
            steps=self.parameters.steps or info.num_steps,
            time=datetime.now(UTC),
        )
