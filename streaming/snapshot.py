"""Snapshot of a stream between two chunks: a value on the host, of which another process can go on with it.

    snapshot = stream.snapshot(before)           # before: an earlier one, whose latents are not copied again
    parts = snapshot.parts(without=known)        # bytes by name; what is named once never changes
    again = StreamSnapshot.of_parts(parts)

No cache is in it, neither keys and values nor an encoder's or the decoder's memory: those are computed again
of the latents, see reprime.py. A chunk adds three latents (0.6 MB at 832x480); all else that is large has a
name of its own, so that it is sent once.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, TypeVar, cast, get_args

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from streaming.api import (
    CONTROLS,
    DEFAULT_FIT,
    MAX_SEED,
    CameraFit,
    CameraStart,
    ControlName,
    DepthSettings,
    DistanceRegion,
    Orientation,
    WeightedPrompts,
    check_strengths,
)
from streaming.blocks.adaptive_scale import AdaptiveScale
from streaming.blocks.camera_start import MotionNoise
from streaming.blocks.prompt_blend import PromptBlend
from streaming.blocks.region_mask import RegionMask
from streaming.blocks.text_conditioning import parse_prompts
from streaming.config import CHUNK_LATENTS
from streaming.depth.alignment import Reference
from streaming.depth.range import DepthRange
from streaming.depth.stream_depth import StreamDepthState
from streaming.parameters import StreamParameters
from streaming.session import StreamSession

VERSION = 1
SHAPE = {"orientation": "wide", "fit": DEFAULT_FIT}  # of a stream that was asked for no other
VALUES, STATE = "stream", "state"  # the parts that are new in every snapshot: plain values, small tensors
T = TypeVar("T")


class SnapshotRejected(ValueError):
    """Parts that are no snapshot of a stream of this version; the text says what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkLatents:
    """Clean latents of one chunk, by its place in the stream."""

    generation: int
    chunk: int
    latents: Tensor  # (1, F, C, h, w) on the host

    @property
    def name(self) -> str:
        return f"latents/{self.generation}-{self.chunk}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StreamSnapshot:
    """All tensors are on the host and belong to the snapshot alone."""

    model: str  # the preset's name
    seed: int
    noise: Tensor  # (n,) uint8, the generator's state; its length differs between kinds of devices
    chunk: int  # index of the next one since the last reset
    frame: int
    generation: int
    recent: tuple[ChunkLatents, ...]  # the window's newest chunks, oldest first; () before the first
    sink: Tensor | None  # (1, sink_size, C, h, w): the stream's first latents; None while `recent` has them
    prompts: WeightedPrompts | None  # of the window
    sink_prompts: WeightedPrompts | None  # of the sink
    blend: PromptBlend | None  # its start without the rows of zeros behind the prompt
    parameters: (
        StreamParameters  # references (1, R, C, h, w): the latents alone, which are all there is to it
    )
    depth: StreamDepthState  # without the last frame's pictures, which smoothing and refinement look at
    had_depth: bool
    motion_gain: AdaptiveScale
    motion_noise: MotionNoise  # without the last camera picture

    def names(self) -> tuple[str, ...]:
        """Of all its parts."""
        return (VALUES, STATE, *self._tensors())

    def parts(self, without: Collection[str] = ()) -> dict[str, bytes]:
        """Its parts but for those named in `without`, whose bytes the holder has. Raises nothing; takes
        milliseconds, in any thread."""
        tensors = self._tensors()
        given = {name: _packed(tensor) for name, tensor in tensors.items() if name not in without}
        state = {"noise": self.noise}
        if (reference := self.depth.reference) is not None:
            state |= {"picture": _tensor(reference.picture), "depth": _tensor(reference.depth)}
        return {
            VALUES: json.dumps(self._values(), ensure_ascii=False, allow_nan=False).encode(),
            STATE: safetensors.torch.save(state),
            **given,
        }

    @classmethod
    def of_parts(cls, parts: Mapping[str, bytes]) -> Self:
        """Raises SnapshotRejected for parts that are missing, damaged, or of a later version."""
        values = _Values.of(_part(parts, VALUES))
        version = values.take("version", int)
        if version != VERSION:
            raise SnapshotRejected(f"version: got {version}, expected {VERSION}")
        try:
            return cls._of(values, parts)
        except SnapshotRejected:
            raise
        except (LookupError, TypeError, ValueError, OverflowError) as error:  # by the values' own checks
            raise SnapshotRejected(f"{VALUES}: {error}") from error

    def _tensors(self) -> dict[str, Tensor]:
        """Those that have a name of their own."""
        large = {latents.name: latents.latents for latents in self.recent}
        if self.sink is not None:
            large[f"sink/{self.generation}"] = self.sink
        for kind, tensor in self._named_by_content().items():
            if tensor is not None:
                large[f"{kind}/{_digest(tensor)}"] = tensor
        return large

    def _named_by_content(self) -> dict[str, Tensor | None]:
        mask, blend = self.parameters.mask, self.blend
        return {
            "references": self.parameters.references,
            "mask": None if mask is None else _tensor(np.packbits(mask.paint.bool().numpy(), axis=-1)),
            "blend": None if blend is None else blend.start,
        }

    def _values(self) -> dict[str, Any]:
        parameters, blend, depth = self.parameters, self.blend, self.depth
        reference, found = depth.reference, self._named_by_content()
        shape = {"orientation": parameters.orientation, "fit": parameters.fit}
        return {
            "version": VERSION,
            "model": self.model,
            "seed": self.seed,
            "chunk": self.chunk,
            "frame": self.frame,
            "generation": self.generation,
            "recent": [[latents.generation, latents.chunk] for latents in self.recent],
            "has_sink": self.sink is not None,
            "window_prompts": self.prompts,
            "sink_prompts": self.sink_prompts,
            "blend": None if blend is None else [blend.chunks, blend.curve, blend.done],
            "prompts": parameters.prompts,
            "strengths": dict(parameters.strengths),
            "adaptive": parameters.adaptive,
            "depth": asdict(parameters.depth),
            "distance": parameters.distance and asdict(parameters.distance),
            "camera_start": asdict(parameters.camera_start),
            "steps": parameters.steps,
            "mask_width": parameters.mask and parameters.mask.paint.shape[-1],
            "depth_range": _range_values(depth.range),
            "depth_fit": reference and [reference.scale, reference.shift],
            "non_finite": depth.non_finite,
            "had_depth": self.had_depth,
            "motion_gain": self.motion_gain.level,
            "motion_noise": [asdict(self.motion_noise.asked), self.motion_noise.scale],
            "digests": {kind: tensor is not None and _digest(tensor) for kind, tensor in found.items()},
            # What is as it was before there was a choice is not in it, as then.
            **{name: value for name, value in shape.items() if value != SHAPE[name]},
        }

    @classmethod
    def _of(cls, values: "_Values", parts: Mapping[str, bytes]) -> Self:
        generation, state = values.count("generation"), _unpacked(_part(parts, STATE), STATE)
        digests = values.take("digests", dict)

        def named(kind: str) -> Tensor | None:
            name = f"{kind}/{digests.get(kind)}"
            return _only(parts, name) if digests.get(kind) else None

        recent: list[ChunkLatents] = []
        for at in values.take("recent", list):
            place = ChunkLatents(int(at[0]), int(at[1]), torch.empty(0))
            recent.append(replace(place, latents=_only(parts, place.name)))
        start, packed, fit = named("blend"), named("mask"), values.optional("depth_fit", list)
        blend = None
        if start is not None:
            chunks, curve, done = values.take("blend", list)
            blend = PromptBlend(start, chunks, curve, int(done))
        mask = None
        if packed is not None:
            mask = _mask_of(packed, values.count("mask_width"))
        distance = values.optional("distance", dict)
        reference = None
        if fit is not None:
            planes = (state["picture"].numpy(), state["depth"].numpy())
            reference = Reference(*planes, float(fit[0]), float(fit[1]))
        asked, scale = values.take("motion_noise", list)
        return cls(
            model=values.take("model", str),
            seed=values.count("seed"),
            noise=state["noise"],
            chunk=values.count("chunk"),
            frame=values.count("frame"),
            generation=generation,
            recent=tuple(recent),
            sink=_only(parts, f"sink/{generation}") if values.take("has_sink", bool) else None,
            prompts=values.optional_prompts("window_prompts"),
            sink_prompts=values.optional_prompts("sink_prompts"),
            blend=blend,
            parameters=StreamParameters(
                prompts=values.prompts("prompts"),
                strengths=values.strengths("strengths"),
                adaptive=values.number("adaptive"),
                depth=DepthSettings(**_with_tuples(values.take("depth", dict))),
                references=named("references"),
                mask=mask,
                distance=None if distance is None else DistanceRegion(**distance),
                camera_start=CameraStart(**values.take("camera_start", dict)),
                steps=tuple(map(int, steps)) if (steps := values.optional("steps", list)) else None,
                orientation=values.one_of("orientation", get_args(Orientation), SHAPE["orientation"]),
                fit=values.one_of("fit", get_args(CameraFit), SHAPE["fit"]),
            ),
            depth=StreamDepthState(
                _range_of(values.take("depth_range", list)), values.count("non_finite"), reference
            ),
            had_depth=values.take("had_depth", bool),
            motion_gain=AdaptiveScale(values.number("motion_gain")),
            motion_noise=MotionNoise(CameraStart(**asked), float(scale)),
        )


def latents_of(session: StreamSession, before: StreamSnapshot | None) -> tuple[ChunkLatents, ...]:
    """The window's clean latents, chunk by chunk, on the host; those that `before` has are not copied."""
    if session.recent is None:
        return ()
    had = {latents.name: latents for latents in before.recent} if before else {}
    chunks = session.recent.split(CHUNK_LATENTS, dim=1)
    found: list[ChunkLatents] = []
    for chunk, latents in enumerate(chunks, session.chunk - len(chunks)):
        place = ChunkLatents(session.generation, chunk, latents)
        found.append(had.get(place.name) or replace(place, latents=on_host(latents)))
    return tuple(found)


def on_host(tensor: Tensor) -> Tensor:
    """A copy that shares nothing."""
    return tensor.to("cpu", copy=True)


def without_padding(embedding: Tensor) -> Tensor:
    """A prompt's embedding (text_len, E) -> the rows up to the last that is not zero, on the host."""
    filled = on_host(embedding)
    rows = int(filled.abs().amax(1).nonzero().amax()) + 1 if filled.any() else 0
    return filled[:rows].clone()


class _Values:
    """JSON of plain values, read field by field. Raises SnapshotRejected naming the field."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @classmethod
    def of(cls, text: bytes) -> Self:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise SnapshotRejected(f"{VALUES}: expected a JSON object, got {text[:50]!r}")
        return cls(cast(dict[str, Any], values))

    def take(self, name: str, kind: type[T]) -> T:
        value = self._values.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SnapshotRejected(f"{name}: expected {kind.__name__}, got {str(value)[:50]}")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        return None if self._values.get(name) is None else self.take(name, kind)

    def count(self, name: str) -> int:
        if not 0 <= (value := self.take(name, int)) <= MAX_SEED:
            raise SnapshotRejected(f"{name}: expected 0 ... {MAX_SEED}, got {value}")
        return value

    def number(self, name: str) -> float:
        return _finite(name, self._values.get(name))

    def one_of(self, name: str, known: Sequence[T], default: T) -> T:
        if (value := self._values.get(name, default)) not in known:
            raise SnapshotRejected(f"{name}: expected {' or '.join(map(str, known))}, got {str(value)[:50]}")
        return value

    def prompts(self, name: str) -> WeightedPrompts:
        """Bit for bit as they were: their weights add up to 1 already."""
        given = self.take(name, list)
        pairs = tuple((str(text), _finite(name, weight)) for text, weight in given)
        parse_prompts(pairs)
        return pairs

    def optional_prompts(self, name: str) -> WeightedPrompts | None:
        return None if self._values.get(name) is None else self.prompts(name)

    def strengths(self, name: str) -> dict[ControlName, float]:
        given = self.take(name, dict)
        check_strengths(tuple(given.items()))
        return {control: float(given[control]) for control in CONTROLS if control in given}


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SnapshotRejected(f"{name}: expected a finite number, got {str(value)[:50]}")
    return float(value)


def _part(parts: Mapping[str, bytes], name: str) -> bytes:
    if (part := parts.get(name)) is None:
        raise SnapshotRejected(f"part {name}: expected, got none")
    return part


def _packed(tensor: Tensor) -> bytes:
    return safetensors.torch.save({"tensor": tensor.contiguous()})


def _unpacked(data: bytes, name: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise SnapshotRejected(f"part {name}: expected safetensors, got {len(data)} other bytes") from error


def _only(parts: Mapping[str, bytes], name: str) -> Tensor:
    """The tensor that is a part of its own."""
    tensors = _unpacked(_part(parts, name), name)
    if tensors.keys() != {"tensor"}:
        raise SnapshotRejected(f"part {name}: expected one tensor, got {', '.join(tensors) or 'none'}")
    return tensors["tensor"]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _digest(tensor: Tensor) -> str:
    return hashlib.blake2b(_packed(tensor), digest_size=16).hexdigest()


def _mask_of(packed: Tensor, width: int) -> RegionMask:
    """Of bits (1, 1, 1, height, bytes), eight pixels each."""
    if packed.dtype != torch.uint8 or packed.ndim != 5 or -(-width // 8) != packed.shape[-1]:
        expected = f"(1, 1, 1, height, {-(-width // 8)}) bytes"
        raise SnapshotRejected(f"mask: expected {expected}, got {tuple(packed.shape)} {packed.dtype}")
    if 0 in packed.shape or packed.shape[:3] != (1, 1, 1):
        raise SnapshotRejected(f"mask: expected one picture, got {tuple(packed.shape)}")
    bits = np.unpackbits(packed.numpy(), axis=-1, count=width)
    return RegionMask.of_paint(torch.from_numpy(bits).float())


def _range_values(depth: DepthRange) -> list[float | bool | None]:
    """NaN, which JSON does not know, is None."""
    return [None if math.isnan(end) else end for end in (depth.far, depth.near)] + [depth.is_fixed]


def _range_of(values: list[Any]) -> DepthRange:
    far, near, is_fixed = values
    ends = (math.nan if end is None else _finite("depth_range", end) for end in (far, near))
    return DepthRange(*ends, is_fixed=bool(is_fixed))


def _with_tuples(depth: dict[str, Any]) -> dict[str, Any]:
    """Points as `DepthSettings` has them."""
    return depth | {"points": tuple(tuple(point) for point in depth["points"])}
