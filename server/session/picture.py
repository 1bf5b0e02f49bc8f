"""Picture that was generated, on its way out, with what it was made with."""

from dataclasses import dataclass
from datetime import UTC, datetime

from av import VideoFrame

from server.media.frames import Rgb, Size
from server.media.snapshot import SnapshotParameters
from server.session.parameters import Parameters
from streaming.api import EngineInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One generated picture on its way out. Times are seconds on the event loop's clock."""

    rgb: Rgb
    chunk: int  # index since the last hard reset
    frame: int  # index since the stream was opened
    sequence: int  # number of the session's chunk, never goes back
    captured: float  # when the camera frame it was made from was taken
    made: float  # when the model was done with it
    source: VideoFrame | None  # that camera frame
    parameters: Parameters  # that its chunk was made with
    guidance_scale: float  # likewise: the one in effect, motion of depth counted in
    noise_scale: float  # likewise

    @property
    def size(self) -> Size:
        """Width and height: those of the stream's shape."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def snapshot(self, info: EngineInfo) -> SnapshotParameters:
        """What it was made with, as it is shown now; `info` is of the model that made it."""
        return SnapshotParameters(
            model=info.model,
            prompts=self.parameters.prompts,
            seed=self.parameters.current_seed,
            chunk=self.chunk,
            frame=self.frame,
            guidance_scale=self.guidance_scale,
            controls=self.parameters.controls,
            noise_scale=self.noise_scale,
            steps=self.parameters.steps or len(info.steps),
            orientation=self.parameters.orientation,
            fit=self.parameters.fit,
            time=datetime.now(UTC),
        )
