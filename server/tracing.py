"""Tracer of chunks: what each waited for and how long each stage took, as spans of OpenTelemetry.

Off by default, and then nothing of OpenTelemetry is imported. Where spans go, how many are kept and what the
service is called is told by OpenTelemetry's own variables: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and others.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Self

from server.logs import SHOWN_OF_ID
from server.metrics import MODEL_STAGES
from server.settings import Settings

logger = logging.getLogger(__name__)

EXPORTERS = "opentelemetry_traces_exporter"  # entry points of packages that export spans
OTLP = "otlp_proto_http"  # what OTEL_TRACES_EXPORTER calls otlp, and its default
JOIN_TIMEOUT_S = 3.0


class TracingUnavailable(Exception):
    """Spans are wanted and cannot be exported; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ChunkTimes:
    """When a chunk came to what, in seconds of the loop's clock."""

    captured: float  # its oldest camera frame
    began: float  # the device was given to it
    taken: float  # the device had finished what came before, and camera frames were taken
    ended: float
    stages_ms: Mapping[str, float] = field(default_factory=dict[str, float])  # measured by the model


class ChunkTracer:
    """Makes the spans of each chunk once it has ended.

    tracer = ChunkTracer.of(settings)        # None: traces are off
    tracer.record(session_id, sequence, times)
    await tracer.close()
    """

    def __init__(self, provider: Any) -> None:
        """`provider`: a TracerProvider of opentelemetry.sdk. On the running event loop."""
        self._provider = provider
        self._tracer = provider.get_tracer("depthlive")
        self._api: Any = import_module("opentelemetry.trace")
        self._offset_ns = time.time_ns() - round(asyncio.get_running_loop().time() * 1e9)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings have it. Raises TracingUnavailable."""
        return cls(_provider()) if settings.traces else None

    def record(self, session: str, chunk: int, times: ChunkTimes, error: str | None = None) -> None:
        """One chunk of a session; `error` is what it was told to have failed of."""
        attributes = {"depthlive.session": session[:SHOWN_OF_ID], "depthlive.chunk": chunk}
        root = self._tracer.start_span(
            "chunk", attributes=attributes, start_time=self._ns(times.captured), record_exception=False
        )
        if error is not None:
            root.set_status(self._api.Status(self._api.StatusCode.ERROR, error))
        context = self._api.set_span_in_context(root)
        spans = {"collect": (times.captured, times.began), "device": (times.began, times.taken)}
        at = times.taken
        for stage in MODEL_STAGES:  # durations are known, and that one follows the other
            if stage in times.stages_ms:
                spans[stage] = (at, at + times.stages_ms[stage] / 1000)
                _, at = spans[stage]
        for name, (start, end) in spans.items():
            span = self._tracer.start_span(
                name, context=context, attributes=attributes, start_time=self._ns(start)
            )
            span.end(end_time=self._ns(max(start, end)))
        root.end(end_time=self._ns(times.ended))

    async def close(self) -> None:
        """Send what waits, for JOIN_TIMEOUT_S at most: a collector may not answer."""
        thread = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, JOIN_TIMEOUT_S)
        if thread.is_alive():
            logger.warning("Traces could not be sent within %g s", JOIN_TIMEOUT_S)

    def _ns(self, seconds: float) -> int:
        return round(seconds * 1e9) + self._offset_ns


def _provider() -> Any:
    """Raises TracingUnavailable."""
    name = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip()
    try:
        sdk: Any = import_module("opentelemetry.sdk.trace")
        export: Any = import_module("opentelemetry.sdk.trace.export")
        resources: Any = import_module("opentelemetry.sdk.resources")
    except ImportError as error:
        raise TracingUnavailable(f"traces: {error.name} is missing; pip install 'depthlive[otel]'") from error
    found = entry_points(group=EXPORTERS, name=OTLP if name == "otlp" else name)
    if not found:
        there = ", ".join(sorted(entry_points(group=EXPORTERS).names)) or "none"
        raise TracingUnavailable(
            f"traces: OTEL_TRACES_EXPORTER is {name!r}: expected an exporter that is installed, of {there}"
        )
    named = resources.Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "depthlive")})
    provider = sdk.TracerProvider(resource=named)
    provider.add_span_processor(export.BatchSpanProcessor(next(iter(found)).load()()))
    return provider
