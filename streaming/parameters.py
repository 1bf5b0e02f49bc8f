"""Parameters in effect for a stream, and how a chunk changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from streaming.api import (
    CLEAR,
    DEFAULT_ADAPTIVE,
    DEFAULT_FIT,
    CameraFit,
    CameraStart,
    ChunkParameters,
    ControlName,
    DepthSettings,
    DistanceRegion,
    Orientation,
    WeightedPrompts,
)
from streaming.blocks.reference_images import reference_of
from streaming.blocks.region_mask import RegionMask
from streaming.blocks.text_conditioning import parse_prompts
from streaming.depth.stream_depth import Depth
from streaming.pipeline import LongLivePipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParameters:
    """What is in effect for a stream: a value, so that a chunk which fails changes nothing."""

    prompts: WeightedPrompts
    strengths: Mapping[ControlName, float]  # of each control; never written to
    adaptive: float = DEFAULT_ADAPTIVE
    depth: DepthSettings = DepthSettings()
    references: Tensor | None = None  # encoded, as the control block's `encode_references` gives them
    mask: RegionMask | None = None  # drawn
    distance: DistanceRegion | None = None
    camera_start: CameraStart = CameraStart()
    steps: tuple[int, ...] | None = None  # None: the model's own
    orientation: Orientation = "wide"
    fit: CameraFit = DEFAULT_FIT

    @property
    def estimated(self) -> DepthSettings | None:
        """How depth is to be estimated; None: nothing asks for any."""
        return self.depth if self.depth.enabled or self.distance is not None else None

    def region(self, depth: Depth | None) -> RegionMask | None:
        """Where a chunk of this depth is generated; None: everywhere."""
        if self.distance is None or depth is None:
            return self.mask
        return RegionMask.of_depth(depth.values, self.distance).within(self.mask)

    def changed_by(self, asked: ChunkParameters, pipeline: LongLivePipeline) -> "StreamParameters":
        """Raises ValueError for what cannot be used. References and a mask are of one shape of picture:
        another orientation needs them anew, or cleared."""
        orientation, fit = asked.orientation or self.orientation, asked.fit or self.fit
        shape = pipeline.shapes.of(orientation)
        if shape is not pipeline.shapes.of(self.orientation):
            for name, now, given in (
                ("references", self.references, asked.references),
                ("mask", self.mask, asked.mask),
            ):
                if now is not None and given is None:
                    raise ValueError(f"orientation: expected {name} with it, anew or CLEAR, got none")
        changes: dict[str, object] = {
            name: value
            for name, value in (
                ("adaptive", asked.adaptive),
                ("depth", asked.depth),
                ("camera_start", asked.camera_start),
                ("orientation", asked.orientation),
                ("fit", asked.fit),
            )
            if value is not None
        }
        strengths = dict(asked.controls or ())
        if asked.guidance_scale is not None:
            strengths["depth"] = asked.guidance_scale
        for name, strength in strengths.items():
            if strength and name not in (allowed := pipeline.preset.allowed_controls):
                raise ValueError(f"controls: {name} is not allowed here, allowed: {', '.join(allowed)}")
        if strengths:
            changes["strengths"] = {**self.strengths, **strengths}
        if asked.prompts is not None:
            changes["prompts"] = parse_prompts(asked.prompts)
        if asked.steps is not None:
            changes["steps"] = None if asked.steps is CLEAR else asked.steps
        if asked.references is CLEAR:
            changes["references"] = None
        elif asked.references is not None:
            pictures = [reference_of(pixels, *shape.size) for pixels in asked.references]
            changes["references"] = shape.control.encode_references(pictures)
        if asked.distance_region is not None:
            changes["distance"] = None if asked.distance_region is CLEAR else asked.distance_region
        if asked.mask is CLEAR:
            changes["mask"] = None
        elif asked.mask is not None:
            changes["mask"] = RegionMask.of(asked.mask, *shape.size, pipeline.device, fit)
        return replace(self, **changes) if changes else self
