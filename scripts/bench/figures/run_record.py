"""Record of one run of the benchmark, whatever carried it."""

import time
from dataclasses import dataclass, field
from typing import Any

from scripts.bench.figures.latency import Arrival


@dataclass(slots=True)
class PromptSwitch:
    """One prompt.set of the run; times in milliseconds, None where no answer came."""

    text: str
    acknowledged_ms: float | None = None  # send to ack, seen here
    applied_ms: float | None = None  # send to `applied`, seen here
    server_latency_ms: float | None = (
        None  # the server's own figure: arrival to the first picture handed over
    )
    chunk: int | None = None
    frame: int | None = None
    is_superseded: bool = False  # a later one came before it was taken
    chunk_at_send: int | None = None  # the one on show when it was sent


@dataclass(slots=True)
class RunRecord:
    """Everything one run has seen. Times are seconds on `time.monotonic` unless a comment says otherwise."""

    offered: float = field(default_factory=time.monotonic)
    arrivals: list[Arrival] = field(default_factory=list)
    session: str | None = None  # the server's name of it
    model: dict[str, Any] | None = None
    states: list[tuple[float, str]] = field(default_factory=list)  # seconds since the offer, state
    telemetry: list[dict[str, Any]] = field(default_factory=list)
    chunk_times: list[tuple[float, int]] = field(default_factory=list)  # when telemetry named which chunk
    stats: dict[str, Any] | None = None
    switches: list[PromptSwitch] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sent: list[tuple[float, int]] = field(default_factory=list)  # when, bytes: each picture, by WebSocket
    received: list[tuple[float, int]] = field(default_factory=list)
    page: dict[str, float | None] = field(default_factory=dict)  # what only a browser can tell
