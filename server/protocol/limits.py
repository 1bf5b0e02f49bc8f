"""Limits and defaults of commands, as clients are told them: read off the models that enforce them. Pure."""

from collections.abc import Iterator
from functools import cache
from typing import Literal, TypeAlias

from pydantic import BaseModel

from server.protocol.http_models import Defaults, Limits
from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    GuidanceState,
    OutputState,
)
from server.protocol.requests import (
    PromptChange,
    SetControls,
    SetDepth,
    SetGuidance,
    SetOutput,
    SetReferences,
    SetSteps,
    SetTimeline,
    WeightedPrompt,
)
from streaming.api import LatencyLevel

Keyword: TypeAlias = Literal["maximum", "maxLength", "maxItems"]  # of JSON Schema


def limits() -> Limits:
    """The largest values that the server takes."""
    return Limits(
        prompt_length=int(_most(PromptChange, "text", "maxLength")),
        prompts=int(_most(PromptChange, "prompts", "maxItems")),
        prompt_weight=_most(WeightedPrompt, "weight", "maximum"),
        blend_chunks=int(_most(PromptChange, "chunks", "maximum")),
        timeline_steps=int(_most(SetTimeline, "steps", "maxItems")),
        timeline_seconds=_most(SetTimeline, "duration", "maximum"),
        guidance_scale=_most(SetGuidance, "scale", "maximum"),
        guidance_keyframes=int(_most(SetGuidance, "keyframes", "maxItems")),
        control_strength=_most(SetControls, "gray", "maximum"),
        depth_points=int(_most(SetDepth, "points", "maxItems")),
        references=int(_most(SetReferences, "images", "maxItems")),
        steps=int(_most(SetSteps, "steps", "maxItems")),
        timestep=int(_most(SetSteps, "steps", "maximum")),
        fps=_most(SetOutput, "fps", "maximum"),
    )


def defaults(
    guidance: GuidanceState,
    depth: DepthState,
    controls: ControlsState,
    camera_start: CameraStartState,
    latency: LatencyLevel,
    output: OutputState,
) -> Defaults:
    """What a prompt.set takes for what it leaves out, and what a session begins with."""
    change = PromptChange.model_validate({"text": "any"})
    return Defaults(
        transition=change.transition,
        chunks=change.chunks,
        curve=change.curve,
        guidance=guidance,
        depth=depth,
        controls=controls,
        camera_start=camera_start,
        latency=latency,
        output=output,
    )


@cache  # a schema takes milliseconds, and what it says of a model never changes
def _most(model: type[BaseModel], field: str, keyword: Keyword) -> float:
    """A bound of one field, or of the items in it. Raises LookupError if it has none."""
    for value in _values(model.model_json_schema()["properties"][field], keyword):
        return value
    raise LookupError(f"{model.__name__}.{field} has no {keyword}")


def _values(schema: object, keyword: Keyword) -> Iterator[float]:
    match schema:
        case dict():
            for name, part in schema.items():  # pyright: ignore[reportUnknownVariableType] -- JSON
                if name == keyword:
                    assert isinstance(part, int | float)
                    yield part
                else:
                    yield from _values(part, keyword)  # pyright: ignore[reportUnknownArgumentType] -- JSON
        case list():
            for part in schema:  # pyright: ignore[reportUnknownVariableType] -- JSON
                yield from _values(part, keyword)  # pyright: ignore[reportUnknownArgumentType] -- JSON
        case _:
            pass
