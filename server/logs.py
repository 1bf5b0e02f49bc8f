"""Log format: one line per event on stderr, the session's id in front of what concerns a session."""

import logging
from collections.abc import MutableMapping
from typing import Any


class _SessionAdapter(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, session_id: str) -> None:
        super().__init__(logger)
        self._session_id = session_id

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"[{self._session_id[:8]}] {msg}", kwargs


def session_logger(name: str, session_id: str) -> "logging.LoggerAdapter[logging.Logger]":
    """Puts the session's id in front; only its beginning, as whoever knows all of it may end the session."""
    return _SessionAdapter(logging.getLogger(name), session_id)


def configure_logging(level: str) -> None:
    """Log to stderr from `level` on; aioice, which reports every connectivity check as INFO, from WARNING."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    if level != "debug":
        logging.getLogger("aioice").setLevel(logging.WARNING)
