"""Counters of the process, for Prometheus, and figures of one stream, for its client."""

import asyncio
import importlib.metadata
import os
import platform
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from server.protocol.replies import ClientState, Dropped, Figures, Latency, Stats

STAGES = tuple(Latency.model_fields)
MODEL_STAGES = ("depth", "encode", "generate", "decode")  # measured by the model itself
SMOOTHING = 0.2  # weight of the newest measurement
RATE_WINDOW_S = 2.0
LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STALL_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
STALL_PERIOD_S = 0.02  # between two looks: a stall that begins in between is seen to be shorter by as much

WAIT_BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

Place = Literal["camera", "pacing", "stale"]
Refusal = Literal[
    "media_type",
    "malformed",
    "ticket",
    "candidates",
    "no_session",
    "lease",
    "no_model",
    "full",
    "address_full",
    "viewers_full",
    "no_udp_port",
    "stopping",
]


class Metrics:
    """The counters of one process, on a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, worker: str | None = None) -> None:
        """`worker`: name of this process in a cluster, a label of every figure."""
        self._registry = registry = CollectorRegistry()
        self._worker = worker
        self.sessions = Gauge("depthlive_sessions", "Peers connected or connecting", registry=registry)
        self.viewers = Gauge("depthlive_viewers", "Who watches a session by WHEP", registry=registry)
        self._refused = Counter(
            "depthlive_refused_offers", "Offers refused", ["status", "reason"], registry=registry
        )
        self.camera_frames = Counter("depthlive_camera_frames", "Camera frames decoded", registry=registry)
        self.shown_frames = Counter("depthlive_shown_frames", "Generated frames sent", registry=registry)
        self.chunks = Counter("depthlive_chunks", "Chunks generated", registry=registry)
        self.dropped = Counter("depthlive_dropped_frames", "Frames dropped", ["place"], registry=registry)
        self.unheard_sound = Counter(
            "depthlive_unheard_sound_packets", "Packets of sound that came in vain", registry=registry
        )
        self.errors = Counter("depthlive_errors", "Errors told to a peer", ["code"], registry=registry)
        self.loop_stalls = Histogram(
            "depthlive_loop_stall_seconds",
            "How late the event loop is for a timer: for so long it answered nobody",
            buckets=STALL_BUCKETS_S,
            registry=registry,
        )
        self.longest_loop_stall = Gauge(
            "depthlive_loop_longest_stall_seconds",
            "The longest of depthlive_loop_stall_seconds since the model was ready",
            registry=registry,
        )
        ProcessCollector(registry=registry)  # memory, handles, seconds of CPU
        Gauge("depthlive_threads", "Threads of the process", registry=registry).set_function(_num_threads)
        self._tasks = Gauge("depthlive_tasks", "Tasks of the event loop", registry=registry)
        self.latency = Histogram(
            "depthlive_latency_seconds",
            "Time spent per stage; total: camera frame to its picture going out",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.admission_wait = Histogram(
            "depthlive_admission_wait_seconds",
            "Time in the admission queue of those who came in from it",
            buckets=WAIT_BUCKETS_S,
            registry=registry,
        )
        self.responses = Counter("depthlive_http_responses", "HTTP responses", ["status"], registry=registry)
        Info("depthlive_build", "What is running", registry=registry).info(
            {"version": _version(), "python": platform.python_version()}
        )

    def refused(self, status: int, reason: Refusal) -> None:
        """An offer, or a WebSocket, was not taken."""
        self._refused.labels(str(status), reason).inc()

    def follow(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A gauge `depthlive_name` of what `read` gives whenever figures are asked for."""
        Gauge(f"depthlive_{name}", help, registry=self._registry).set_function(read)

    async def watch_loop(self) -> None:
        """Measure how late the running loop is, for ever."""
        now, longest = asyncio.get_running_loop().time, 0.0
        while True:
            due = now() + STALL_PERIOD_S
            await asyncio.sleep(STALL_PERIOD_S)
            stall = max(0.0, now() - due)
            self.loop_stalls.observe(stall)
            self._tasks.set(len(asyncio.all_tasks()))
            if stall > longest:
                longest = stall
                self.longest_loop_stall.set(stall)

    def render(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self)  # pyright: ignore[reportArgumentType] -- it only collects

    def collect(self) -> Iterator[Metric]:
        """Every figure, as a registry gives them."""
        for family in self._registry.collect():
            if self._worker is not None:
                worker = {"worker": self._worker}
                family.samples = [one._replace(labels={**one.labels, **worker}) for one in family.samples]
            yield family


def _num_threads() -> int:
    """Those of codecs, too, where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def _version() -> str:
    try:
        return importlib.metadata.version("depthlive")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is run as it is
        return "unknown"


class StreamMeter:
    """Counts and smoothed times of one stream; what it is told, the process's metrics are told too."""

    def __init__(self, metrics: Metrics, began: float) -> None:
        self._metrics = metrics
        self._began = began
        self._latency: dict[str, float] = {}
        self._shown_at: deque[float] = deque(maxlen=256)
        self._dropped: Tally[Place] = Tally()
        self.camera_frames = 0
        self.shown_frames = 0
        self.chunks = 0

    def camera_frame(self) -> None:
        self.camera_frames += 1
        self._metrics.camera_frames.inc()

    def chunk(self, timings_ms: Mapping[str, float], collect: float) -> None:
        """One chunk was made, of frames that had waited `collect` seconds; the model's times by stage."""
        self.chunks += 1
        self._metrics.chunks.inc()
        self.took("collect", collect)
        for stage in MODEL_STAGES:
            if stage in timings_ms:
                self.took(stage, timings_ms[stage] / 1000)

    def shown(self, now: float, *, captured: float, made: float) -> None:
        """One generated frame, of a camera frame `captured` then and `made` then, went out."""
        self.shown_frames += 1
        self._shown_at.append(now)
        self._metrics.shown_frames.inc()
        self.took("pace", now - made)
        self.took("total", now - captured)

    def dropped_in_all(self, place: Place, count: int) -> None:
        """`count` frames have been dropped at `place` since the stream began."""
        self._metrics.dropped.labels(place).inc(count - self._dropped[place])
        self._dropped[place] = count

    def dropped_more(self, place: Place, count: int) -> None:
        """Another `count` frames have been dropped at `place`."""
        self.dropped_in_all(place, self._dropped[place] + count)

    def took(self, stage: str, seconds: float) -> None:
        """One measurement of a stage. Raises KeyError for a stage that the protocol does not name."""
        if stage not in STAGES:
            raise KeyError(f"{stage!r} is not one of {', '.join(STAGES)}")
        milliseconds = seconds * 1000
        before = self._latency.get(stage, milliseconds)
        self._latency[stage] = before + SMOOTHING * (milliseconds - before)
        self._metrics.latency.labels(stage).observe(seconds)

    def fps(self, now: float) -> float:
        """Generated frames shown per second, of late."""
        while self._shown_at and now - self._shown_at[0] > RATE_WINDOW_S:
            self._shown_at.popleft()
        return round(len(self._shown_at) / RATE_WINDOW_S, 1)

    def latency(self) -> Latency:
        return Latency(**{stage: round(value, 1) for stage, value in self._latency.items()})

    def dropped(self) -> Dropped:
        return Dropped(
            camera=self._dropped["camera"], pacing=self._dropped["pacing"], stale=self._dropped["stale"]
        )

    def figures(
        self,
        now: float,
        *,
        state: ClientState,
        chunk: int | None,
        guidance_scale: float | None,
        noise_scale: float | None,
    ) -> Figures:
        """What is measured, with what only the session knows."""
        return Figures(
            fps=self.fps(now),
            chunk=chunk,
            latency_ms=self.latency(),
            dropped=self.dropped(),
            state=state,
            guidance_scale=guidance_scale,
            noise_scale=noise_scale,
        )

    def stats(self, id: str, now: float, figures: Figures) -> Stats:
        """The figures with the counts since the session began."""
        return Stats(
            id=id,
            camera_frames=self.camera_frames,
            shown_frames=self.shown_frames,
            chunks=self.chunks,
            uptime_s=round(now - self._began, 1),
            **dict(figures),
        )
