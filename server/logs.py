"""Log format: one line per event on stderr, as text or as JSON, with the session and chunk that it concerns.

Prompts, tokens and credentials are never logged; of a session's id only its beginning is, as whoever knows
all of it may end the session.
"""

import json
import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

SHOWN_OF_ID = 8
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

# Of the task that logs, and of work that it has the device thread do.
SESSION: ContextVar[str | None] = ContextVar("session", default=None)
CHUNK: ContextVar[int | None] = ContextVar("chunk", default=None)


class _SessionAdapter(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, session_id: str) -> None:
        super().__init__(logger)
        self._session_id = session_id

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), "session": self._session_id[:SHOWN_OF_ID]}
        return msg, kwargs


def session_logger(name: str, session_id: str) -> "logging.LoggerAdapter[logging.Logger]":
    """What it logs concerns this session, whatever task logs it."""
    return _SessionAdapter(logging.getLogger(name), session_id)


def mark_session(session_id: str) -> None:
    """What this task and those that it begins log from now on concerns this session."""
    SESSION.set(session_id[:SHOWN_OF_ID])


def event(name: str, **fields: object) -> dict[str, object]:
    """For `extra` of a log call: members that the line has in JSON, beside its message."""
    return {"fields": {"event": name, **fields}}


def _session_of(record: logging.LogRecord) -> str | None:
    return getattr(record, "session", None) or SESSION.get()


class TextFormatter(logging.Formatter):
    """For people: the session in front of the message."""

    def __init__(self) -> None:
        super().__init__(TEXT, datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        session = _session_of(record)
        if session is not None:
            record.message = f"[{session}] {record.message}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """For programs: one object a line, with time (RFC 3339, UTC), level, logger and message; session, chunk,
    error and an event's fields where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (session := _session_of(record)) is not None:
            line["session"] = session
        if (chunk := CHUNK.get()) is not None:
            line["chunk"] = chunk
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        line |= getattr(record, "fields", {})
        return json.dumps(line, default=str)


def configure_logging(level: str, format: LogFormat = "text") -> None:
    """Log to stderr from `level` on; aioice, which reports every connectivity check as INFO, from WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level != "debug":
        logging.getLogger("aioice").setLevel(logging.WARNING)
