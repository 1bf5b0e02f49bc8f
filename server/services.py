"""Collaborators that a process has once and that all its sessions and connections share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.engine.client import EngineClient
from server.journal.port import Journal
from server.media.recording_store import RecordingStore
from server.metrics import Metrics
from server.placement.lease_tokens import LeaseGate
from server.protocol.requests import Command
from server.settings import Settings
from server.tracing import ChunkTracer


@dataclass(frozen=True, slots=True)
class Services:
    """Made with the application; whoever takes it ends none of it."""

    settings: Settings
    engine: EngineClient
    metrics: Metrics
    recordings: RecordingStore | None = None  # None: sessions cannot be recorded
    tracer: ChunkTracer | None = None
    gate: LeaseGate | None = None  # of a cluster's worker: places are leased elsewhere
    journal: Journal | None = None  # None: a session that is lost with this process cannot go on elsewhere
    preset: Sequence[Command] = ()  # in effect when a session begins
    owner_of: Callable[[str], str | None] = lambda session: None  # mark of a session's publisher
