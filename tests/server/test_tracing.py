"""Traces of chunks: one for each, with its stages; nothing of them where they are off."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from server import tracing
from server.engine.client import EngineClient
from server.metrics import MODEL_STAGES, Metrics
from server.services import Services
from server.session.session import LiveSession
from server.settings import Settings, load_settings
from server.tracing import ChunkTimes, ChunkTracer, TracingUnavailable
from tests.server.running import until
from tests.server.running_session import RunningSession

OFF = """
import sys, asyncio
from server.app import create_app
from server.engine.client import EngineClient
from server.settings import load_settings

async def main():
    settings = load_settings({})
    create_app(settings, EngineClient(settings))

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.fixture
def memory() -> Any:
    """Spans that were made, by an exporter that keeps them."""
    pytest.importorskip("opentelemetry.sdk", reason="comes with the extra dev")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # pyright: ignore[reportMissingImports]
        InMemorySpanExporter,
    )

    return InMemorySpanExporter()


@pytest.fixture
def provider(memory: Any) -> Any:
    from opentelemetry.sdk.trace import TracerProvider  # pyright: ignore[reportMissingImports]
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # pyright: ignore[reportMissingImports]

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider


def test_law_where_traces_are_off_nothing_of_them_is_imported() -> None:
    found = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[-2] == "[]"


@pytest.mark.virtual_time
async def test_law_each_chunk_has_a_trace_of_its_stages(
    settings: Settings, worker: EngineClient, memory: Any, provider: Any
) -> None:
    services = Services(settings, worker, Metrics(), tracer=ChunkTracer(provider))
    session = LiveSession("0123456789abcdef", services)
    running = RunningSession(session)
    session.start()
    await running.live()
    await until(lambda: len(memory.get_finished_spans()) > 40, "chunks")
    spans = memory.get_finished_spans()
    running.ask("prompt.set", "1", text="diverge")
    await running.until("error", code="reset")
    await running.close()
    (failed,) = [span for span in memory.get_finished_spans() if span.status.status_code.name == "ERROR"]
    assert failed.name == "chunk" and failed.status.description == "chunk 3, decode: NaN"
    chunks = [span for span in spans if span.name == "chunk"]
    assert [span.attributes["depthlive.chunk"] for span in chunks] == list(range(1, len(chunks) + 1))
    assert {span.attributes["depthlive.session"] for span in spans} == {"01234567"}, "no more: it is a secret"
    for chunk in chunks:
        mine = chunk.context.span_id
        parts = {span.name: span for span in spans if span.parent and span.parent.span_id == mine}
        assert list(parts) == ["collect", "device", "depth", "encode", "generate", "decode"]
        assert {part.context.trace_id for part in parts.values()} == {chunk.context.trace_id}
        took = {name: (part.end_time - part.start_time) / 1e6 for name, part in parts.items()}
        assert [took[name] for name in MODEL_STAGES] == pytest.approx([1, 2, 3, 4])
        assert parts["collect"].start_time == chunk.start_time and took["collect"] > 0
        assert parts["depth"].start_time == parts["device"].end_time


async def test_a_chunk_that_failed_says_so(memory: Any, provider: Any) -> None:
    tracer = ChunkTracer(provider)
    tracer.record("abc", 7, ChunkTimes(1.0, 2.0, 2.5, 3.0), "chunk 6: decode: NaN")
    *parts, chunk = memory.get_finished_spans()
    assert [part.name for part in parts] == ["collect", "device"]
    assert chunk.status.status_code.name == "ERROR" and chunk.status.description == "chunk 6: decode: NaN"
    assert chunk.end_time - chunk.start_time == pytest.approx(2e9, abs=1000)


async def test_law_a_collector_that_does_not_answer_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, provider: Any
) -> None:
    over = threading.Event()
    monkeypatch.setattr(tracing, "JOIN_TIMEOUT_S", 0.01)
    monkeypatch.setattr(provider, "shutdown", over.wait)
    await ChunkTracer(provider).close()
    over.set()
    assert "Traces could not be sent" in caplog.text


async def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ChunkTracer.of(load_settings({})) is None
    settings = load_settings({"traces": True})
    with monkeypatch.context() as patch, pytest.raises(TracingUnavailable, match=r"pip install .*\[otel\]"):
        patch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
        ChunkTracer.of(settings)
    pytest.importorskip("opentelemetry.sdk", reason="comes with the extra dev")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "smoke")
    words = "'smoke': expected an exporter that is installed, of .*console"
    with pytest.raises(TracingUnavailable, match=words):
        ChunkTracer.of(settings)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "stage")
    tracer = ChunkTracer.of(settings)
    assert tracer is not None and tracer._provider.resource.attributes["service.name"] == "stage"
    await tracer.close()
    await asyncio.sleep(0)
