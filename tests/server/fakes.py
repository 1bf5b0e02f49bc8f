"""A stand-in for streaming.engine with the same public interface: numpy only, instant, fails on demand.

Generated frames are flat: red counts frames, green is the prompt's length, blue the mean of the camera frame.
"""

import json
import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from streaming.api import (
    DEFAULT_CONTROLS,
    ChunkParameters,
    ChunkResult,
    ControlStrengths,
    EngineInfo,
    GenerationFailed,
    Look,
    WeightedPrompts,
)
from tests.virtual_time import Gate, sleep

WIDTH, HEIGHT = 64, 48


INFO = EngineInfo(
    model="fake",
    trained=False,
    depth="edges",
    device="cpu",
    dtype="float32",
    width=WIDTH,
    height=HEIGHT,
    steps=(1000, 750, 500, 250),
    about="a stand-in",
    looks=(),
)


class Recorded(ChunkParameters):
    """What a chunk was asked for, and all its texts in one."""

    @classmethod
    def of(cls, asked: ChunkParameters) -> "Recorded":
        return cls(**{field.name: getattr(asked, field.name) for field in fields(asked)})

    @property
    def prompt(self) -> str | None:
        return None if self.prompts is None else " ".join(text for text, _ in self.prompts)


@dataclass(frozen=True)
class StreamSnapshot:
    """All that a fake stream remembers; a part for each of the last two chunks."""

    prompt: str
    chunk: int
    frame: int
    generation: int
    is_upright: bool = False

    def names(self) -> tuple[str, ...]:
        return "stream", *self._latents()

    def parts(self, without: Collection[str] = ()) -> dict[str, bytes]:
        latents = {name: name.encode() for name in self._latents() if name not in without}
        return {"stream": json.dumps(asdict(self)).encode()} | latents

    def _latents(self) -> tuple[str, ...]:
        chunks = range(max(0, self.chunk - 2), self.chunk)
        return tuple(f"latents/{self.generation}-{chunk}" for chunk in chunks)


class LiveStream:
    """Fails on the prompts "reject", "explode", "exit" (of its thread), "diverge" and, after a piece, "break
    off" (these two once) and "always break off"; "stale" gives an old generation."""

    def __init__(self, module: "FakeEngineModule", prompt: str) -> None:
        self._module = module
        self._prompt = prompt
        self._chunk = 0
        self._frame = 0
        self._generation = 0
        self._strengths = {"depth": 0.0, "gray": 0.0, "lines": 0.0, **dict(module.controls)}
        self._noise_scale = 1.0
        self._ahead: WeightedPrompts | None = None
        self._is_upright = False
        self.frames_wanted = 9
        weakref.finalize(self, lambda: module.freed_in.append(threading.current_thread().name))

    def step(
        self,
        frames: Sequence[np.ndarray],
        asked: Callable[[], ChunkParameters],
        on_frames: Callable[[ChunkResult], None],
    ) -> ChunkResult:
        self._module.may_ask.wait()
        controls = Recorded.of(asked())
        self._module.steps.append((len(frames), controls))
        assert len(frames) == self.frames_wanted
        assert all(f.ndim == 3 and f.dtype == np.uint8 and f.flags.c_contiguous for f in frames)
        is_longer = controls.prompts not in (None, self._ahead)
        sleep(self._module.step_seconds + (self._module.recache_seconds if is_longer else 0))
        self._ahead = None
        self._fail_if_asked(controls.prompt)
        if controls.orientation == "upright" and not self._module.can_turn:
            raise ValueError("orientation: expected wide, this model's pictures cannot be turned")
        self._prompt = controls.prompt or self._prompt
        self._strengths |= dict(controls.controls or ())
        if controls.camera_start is not None:
            self._noise_scale = controls.camera_start.noise_scale
        if controls.guidance_scale is not None:
            self._strengths["depth"] = controls.guidance_scale
        was_upright = self._is_upright
        if controls.orientation is not None:
            self._is_upright = controls.orientation == "upright"
        if controls.reset or controls.transition == "cut" or self._is_upright != was_upright:
            self._reset()
        count = 9 if self._chunk == 0 else 12
        size = (WIDTH, HEIGHT) if self._is_upright else (HEIGHT, WIDTH)
        pictures = np.zeros((count, *size, 3), np.uint8)
        for number, (picture, source) in enumerate(zip(pictures, frames[-count:], strict=True)):
            picture[...] = ((self._frame + number) % 256, min(255, len(self._prompt)), source.mean())
        timings = {"depth": 1.0, "encode": 2.0, "generate": 3.0, "decode": 4.0, "total": 10.0}
        result = ChunkResult(
            frames=pictures,
            chunk=self._chunk,
            first_frame=self._frame,
            frames_in_chunk=count,
            generation=self._generation - (controls.prompt == "stale"),
            guidance_scale=self._strengths["depth"],
            noise_scale=self._noise_scale,
            depth_preview=np.full((72, 128), 100, np.uint8),
            gray_preview=np.full((72, 128), 50, np.uint8) if self._strengths["gray"] else None,
            lines_preview=np.full((72, 128), 200, np.uint8) if self._strengths["lines"] else None,
            timings_ms=timings,
        )
        for piece in np.split(pictures, range(count - 8, count, 4)):
            piece_only = {"depth_preview": None, "gray_preview": None, "lines_preview": None}
            on_frames(replace(result, frames=piece, first_frame=self._frame, timings_ms={}, **piece_only))
            self._frame += len(piece)
            self._module.may_go_on.wait()
            is_once = controls.prompt == "break off" and not self._module.has_diverged
            if is_once or self._prompt == "always break off":
                self._module.has_diverged = True
                self._reset()
                raise GenerationFailed("chunk 3, decode: NaN")
        self._chunk += 1
        self.frames_wanted = 12
        return result

    def look_ahead(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        sleep(self._module.look_seconds * len(pictures))
        self._module.looked_at.append(len(pictures))
        if self._module.look_error is not None:
            raise self._module.look_error
        return list(pictures)

    def recache_ahead(self, prompts: WeightedPrompts) -> None:
        self._module.recached_ahead.append(prompts)
        sleep(self._module.recache_seconds)
        if self._module.recache_error is not None:
            raise self._module.recache_error
        self._ahead = prompts

    def snapshot(self, before: StreamSnapshot | None = None) -> StreamSnapshot:
        self._module.snapshots_before.append(before)
        return StreamSnapshot(self._prompt, self._chunk, self._frame, self._generation, self._is_upright)

    def restore(self, snapshot: StreamSnapshot) -> None:
        self._chunk, self._frame = snapshot.chunk, snapshot.frame
        self._generation, self._is_upright = snapshot.generation, snapshot.is_upright
        self.frames_wanted = 12 if self._chunk else 9

    def _fail_if_asked(self, prompt: str | None) -> None:
        match prompt:
            case "reject":
                raise ValueError("prompt: this word is not known")
            case "explode":
                raise RuntimeError("out of memory")
            case "exit":
                raise SystemExit(3)
            case "diverge" if not self._module.has_diverged:
                self._module.has_diverged = True
                self._reset()
                raise GenerationFailed("chunk 3, decode: NaN")

    def _reset(self) -> None:
        self._chunk = 0
        self._generation += 1
        self.frames_wanted = 9


class StreamEngine:
    def __init__(self, module: "FakeEngineModule") -> None:
        self.info = replace(INFO, looks=module.looks, controls=module.controls, can_turn=module.can_turn)
        self._module = module

    def warm_up(self) -> float:
        self._module.may_warm_up.wait()
        return self._module.warm_pace

    def encode(self, texts: Sequence[str]) -> None:
        self._module.encoded.append(tuple(texts))
        if "reject" in texts:
            raise ValueError("prompt: this word is not known")

    def prepare(self) -> bool:
        if self._module.prepare_error is not None:
            raise self._module.prepare_error
        if self._module.streams or self._module.prepared >= self._module.to_prepare:
            return False
        self._module.prepared += 1
        self._module.may_prepare.wait()
        return True

    def memory_bytes(self) -> int:
        return self._module.memory_bytes

    def flush(self) -> None:
        self._module.may_flush.wait()
        self._module.flushed += 1
        if self._module.flush_error is not None:
            raise self._module.flush_error

    def check_device(self) -> None:
        if self._module.device_error is not None:
            raise self._module.device_error

    def open(self, *, prompt: str, seed: int) -> LiveStream:
        if prompt == "reject":
            raise ValueError("prompt: this word is not known")
        if prompt == "explode":
            raise RuntimeError("out of memory")
        self._module.opening += 1
        self._module.may_open.wait()
        stream = LiveStream(self._module, prompt)
        self._module.streams.add(stream)
        return stream

    def restore(self, parts: Mapping[str, bytes]) -> LiveStream:
        if self._module.refuses_snapshots:
            raise ValueError("model: expected another, got fake")
        snapshot = StreamSnapshot(**json.loads(parts["stream"]))
        assert parts.keys() == set(snapshot.names()), "a snapshot is restored whole"
        stream = self.open(prompt=snapshot.prompt, seed=0)
        stream.restore(snapshot)
        return stream


@dataclass
class FakeEngineModule:
    """Give it to EngineClient as `import_engine=lambda: module`, told first what to do differently."""

    load_error: Exception | None = None
    memory_bytes: int = 0
    looks: tuple[Look, ...] = ()
    controls: ControlStrengths = DEFAULT_CONTROLS  # that streams begin with
    can_turn: bool = True
    step_seconds: float = 0.0
    recache_seconds: float = 0.0  # more, for a step with a prompt, unless that was done ahead
    recached_ahead: list[WeightedPrompts] = field(default_factory=list)
    recache_error: Exception | None = None  # ahead of a chunk
    look_seconds: float = 0.0  # a picture, ahead of its chunk
    look_error: Exception | None = None
    looked_at: list[int] = field(default_factory=list)  # pictures each time
    warm_pace: float = 1000.0  # pictures a second
    has_diverged: bool = False
    may_load: Gate = field(default_factory=Gate)
    may_warm_up: Gate = field(default_factory=Gate)
    may_open: Gate = field(default_factory=Gate)
    may_flush: Gate = field(default_factory=Gate)
    may_ask: Gate = field(default_factory=Gate)
    may_go_on: Gate = field(default_factory=Gate)  # after a piece
    may_prepare: Gate = field(default_factory=Gate)
    refuses_snapshots: bool = False
    snapshots_before: list[StreamSnapshot | None] = field(default_factory=list)  # that each was to go on from
    opening: int = 0  # streams, those that are open included
    flushed: int = 0
    encoded: list[tuple[str, ...]] = field(default_factory=list)
    to_prepare: int = 0
    prepared: int = 0
    prepare_error: Exception | None = None
    flush_error: Exception | None = None
    device_error: Exception | None = None
    streams: "weakref.WeakSet[LiveStream]" = field(default_factory=weakref.WeakSet)
    freed_in: list[str] = field(default_factory=list)  # thread in which each stream was freed
    steps: list[tuple[int, Recorded]] = field(default_factory=list)
    loaded_with: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.may_load.set()
        self.may_warm_up.set()
        self.may_open.set()
        self.may_flush.set()
        self.may_ask.set()
        self.may_go_on.set()
        self.may_prepare.set()

    def load(self, **arguments: object) -> StreamEngine:
        self.loaded_with = arguments
        self.may_load.wait()
        if self.load_error is not None:
            raise self.load_error
        return StreamEngine(self)
