"""Figures of one engine: chunks as a server runs them, stage by stage."""

import dataclasses
import statistics
import time
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from scripts.bench.engine import ceilings, machine, measured_engine, stages, table
from scripts.bench.engine.flops import Work
from scripts.bench.engine.probe import Probe, RingCopies, profiled
from scripts.bench.figures.latency import percentile
from streaming.api import (
    CHUNK,
    CLEAR,
    CONTROLS,
    DEFAULT_LATENCY,
    SEEN_TOGETHER,
    CameraStart,
    ChunkParameters,
    ControlName,
    ControlStrengths,
    DepthSettings,
    LatencyLevel,
    sampling_at,
)
from streaming.blocks.text_conditioning import parse_prompts
from streaming.chunk_passes import ChunkInputs
from streaming.config import CHUNK_LATENTS
from streaming.depth.chunk_frames import SeenFrame
from streaming.engine import LiveStream, StreamEngine

# Of a chunk whose frames were seen as they came.
SEEN, LAST = "depth while it fills", "depth once it is full"
SWITCHES = 5  # prompt switches, and new sessions, that are timed


@dataclasses.dataclass(frozen=True, slots=True)
class Guided:
    """What guides the chunks of one table."""

    name: str
    controls: tuple[ControlName, ...] = ()
    noise_scale: float = 1.0
    latency: LatencyLevel = DEFAULT_LATENCY  # any other sets steps and noise scale

    def sampling(self, own: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
        """Steps and noise scale, for a model or a run whose steps are `own`."""
        steps, noise_scale = sampling_at(self.latency, own)
        return (own, self.noise_scale) if steps is CLEAR else (steps, noise_scale)


class Bench:
    """All figures of one engine that has warmed up."""

    def __init__(
        self, engine: StreamEngine, guided: Guided, preset: str, steps: int | None, chunks: int
    ) -> None:
        self._engine, self._pipeline = engine, engine.pipeline
        self._device = engine.pipeline.device
        self._guided, self._preset, self._chunks = guided, preset, chunks
        self._on = set(guided.controls)
        own = measured_engine.falling_steps(steps) if steps else engine.info.steps
        asked, self._noise_scale = guided.sampling(own)
        self._steps = None if asked == engine.info.steps else asked
        pipeline = engine.pipeline
        denoiser = pipeline._denoiser(self._steps) if self._steps else pipeline.denoise
        self._passes = len(denoiser.from_camera(self._noise_scale, "exact").timesteps)
        self._probe = Probe(engine.pipeline)
        self._pictures = measured_engine.camera(engine.info.height, engine.info.width)
        self._count = 0  # of prompts, so that none comes twice

    def run(self) -> dict[str, Any]:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        firsts = [self._first_chunk()[0] for _ in range(SWITCHES)]
        machine.free()
        base = machine.allocated(self._device)
        with self._probe.watching():
            stream = self._full_stream()
            held = machine.allocated(self._device)
            walls, rows = self._timed(stream)
            ahead = self._seen_ahead(stream) if self._on else []
            switched, switches = self._switches(stream)
            is_cuda = self._device.type == "cuda"
            runtime = profiled(lambda: self._step(stream), self._device) if is_cuda else {}
        peak = machine.peak_bytes(self._device)  # before what follows, which no stream does
        copies = self._ring_copies(stream)
        works = stages.works_of(
            self._engine,
            stream._session,
            passes=self._passes,
            videos=self._videos(),
            camera=self._noise_scale < 1,
        )
        preset, dtype = self._pipeline.preset, self._pipeline.dtype
        sizes = ceilings.sizes_for(preset, self._device)
        rates = ceilings.ceilings(preset.transformer, sizes, self._device, dtype)
        by_stage = self._stages(rows + ahead, works, rates)
        switch = self._stages(switches, works, rates)
        cache = stream._session.cache.num_bytes
        base -= cache if base else 0  # the ring was lent to a session before
        return {
            "stages": by_stage,
            "fps": CHUNK / statistics.median(walls) * 1e3,
            "wall_ms": {"median": statistics.median(walls), "p95": percentile(walls, 0.95)},
            "memory_mib": {
                "weights": measured_engine.weight_bytes(self._engine) / 2**20,
                "allocated before sessions": base / 2**20 or None,
                "per session": (held - base) / 2**20 or None,
                "of it keys and values": cache / 2**20,
                "peak": peak / 2**20,
            },
            "prompt_switch": {
                "recache": switch.get("recache"),
                "extra_ms": statistics.median(switched) - statistics.median(walls),
                "stages": switch,
            },
            "first_frame_ms": statistics.median(firsts),
            "ring_copies": copies,
            "runtime": {name: dataclasses.asdict(calls) for name, calls in runtime.items()},
            "ceilings": ceilings.as_rows(rates),
        }

    def _controls(self, **changes: Any) -> ChunkParameters:
        strengths: ControlStrengths = tuple((name, float(name in self._on)) for name in CONTROLS)
        depth = DepthSettings(enabled="depth" in self._on)
        start = CameraStart(self._noise_scale)
        return ChunkParameters(
            depth=depth, controls=strengths, steps=self._steps, camera_start=start, **changes
        )

    def _videos(self) -> int:
        """How many control videos show what is on."""
        return sum(bool(self._on & set(channels)) for channels in self._pipeline.preset.control_videos)

    def _first_chunk(self) -> tuple[float, LiveStream]:
        """Milliseconds from asking for a session to its first pictures on the host."""
        machine.wait(self._device)
        begin = time.perf_counter()
        stream = self._engine.open(prompt=self._new_prompt(), seed=self._count)
        stream.step(self._pictures[: stream.frames_wanted], self._controls())
        return (time.perf_counter() - begin) * 1e3, stream

    def _new_prompt(self) -> str:
        self._count += 1
        return f"a statue of molten gold, number {self._count}"

    def _full_stream(self) -> LiveStream:
        _, stream = self._first_chunk()
        for _ in range(measured_engine.window_chunks(self._pipeline.preset, CHUNK_LATENTS)):
            self._step(stream)
        return stream

    def _step(self, stream: LiveStream, **changes: Any) -> tuple[float, dict[str, float]]:
        """Host milliseconds of one chunk, and all its stages."""
        self._probe.begin_chunk()
        begin = time.perf_counter()
        result = stream.step(self._pictures[: stream.frames_wanted], self._controls(**changes))
        wall = (time.perf_counter() - begin) * 1e3
        timings = result.timings_ms | self._probe.timings_ms()
        return wall, stages.stages_of(timings, guided=bool(self._on))

    def _timed(self, stream: LiveStream) -> tuple[list[float], list[dict[str, float]]]:
        found = [self._step(stream) for _ in range(self._chunks)]
        return [wall for wall, _ in found], [row for _, row in found]

    def _seen_ahead(self, stream: LiveStream) -> list[dict[str, float]]:
        """Depth of a chunk whose frames a server has seen as they came, all but the last ones: what these
        take when the chunk is full, and what the others took before."""
        rows: list[dict[str, float]] = []
        for _ in range(self._chunks):
            pictures = self._pictures[: stream.frames_wanted]
            frames: list[np.ndarray | SeenFrame] = []
            machine.wait(self._device)
            begin = time.perf_counter()
            for first in range(0, len(pictures) - SEEN_TOGETHER, SEEN_TOGETHER):
                frames += stream.look_ahead(pictures[first : first + SEEN_TOGETHER])
                machine.wait(self._device)  # the camera is slower
            before = (time.perf_counter() - begin) * 1e3
            result = stream.step([*frames, *pictures[len(frames) :]], self._controls())
            rows.append({SEEN: before, LAST: result.timings_ms["depth"]})
        return rows

    def _switches(self, stream: LiveStream) -> tuple[list[float], list[dict[str, float]]]:
        self._step(stream, prompts=parse_prompts(self._new_prompt()))  # its shapes are met here
        found = [self._step(stream, prompts=parse_prompts(self._new_prompt())) for _ in range(SWITCHES)]
        return [wall for wall, _ in found], [row for _, row in found]

    def _ring_copies(self, stream: LiveStream) -> dict[str, int]:
        """Bytes that an average pass of a chunk copies, run without recordings, which would hide them; `new`
        is what it has to write. `turned`: the sink's keys, written again at their new place once a chunk,
        before its passes."""
        session, passes = stream._session, self._pipeline.passes
        turned, begin = [0, 0], passes.begin

        def begin_chunk(*given: Any, **named: Any) -> ChunkInputs:
            before = copies.into, copies.out_of
            chunk = begin(*given, **named)
            turned[:] = copies.into - before[0], copies.out_of - before[1]
            return chunk

        copies = RingCopies(session.cache)
        unrecorded = patch.multiple(passes, capture=None, begin=begin_chunk)
        with unrecorded, torch.compiler.set_stance("force_eager"), copies:
            stream.step(self._pictures[: stream.frames_wanted], self._controls())
        forwards = self._passes + 1
        tokens = CHUNK_LATENTS * session.cache.tokens_per_latent
        return {
            "new": 2 * tokens * session.cache.k[:, :, 0].nbytes,  # of several ranks, of this one's heads
            "into": (copies.into - turned[0]) // forwards,
            "out_of": (copies.out_of - turned[1]) // forwards,
            "turned": turned[0],
        }

    def _stages(
        self,
        rows: list[dict[str, float]],
        works: Mapping[str, Work],
        rates: list[ceilings.Ceiling],
    ) -> dict[str, dict[str, float | None]]:
        kinds = {kind: ceilings.best(rates, kind) for kind in ceilings.KINDS}
        info, costs = self._engine.info, {}
        for name in sorted({name for row in rows for name in row}, key=stages.place):
            spent = [row[name] for row in rows if name in row]
            middle, work, floor = statistics.median(spent), works.get(name), None
            if work is not None:
                floor = work.floor_ms(kinds)
            elif name == "copy out and rest" and (host := kinds["host"]):
                floor = CHUNK * info.height * info.width * 3 / host * 1e3
            is_goals = info.model == "longlive-1.3b" and (info.width, info.height) == (832, 480)
            costs[name] = {
                "median_ms": middle,
                "p95_ms": percentile(spent, 0.95),
                "tflop": work.total / 1e12 if work else None,
                "floor_ms": floor,
                "of_ceiling": floor / middle if floor is not None and middle > 0 else None,
                "goal_ms": table.goal_ms(name, self._preset, self._guided.name) if is_goals else None,
            }
        return costs
