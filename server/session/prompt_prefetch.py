"""Prefetch of prompts: they are encoded while the device is idle, or every stream would wait for that."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from server.engine.client import EngineClient
from server.engine.errors import EngineUnavailable, InputRejected


class PromptPrefetch:
    """Has prompts encoded ahead of their chunk. At most one prefetch runs; prompts that come meanwhile are
    encoded by their chunk, and what is wrong with any is told by that too."""

    def __init__(self, engine: EngineClient, log: "logging.LoggerAdapter[logging.Logger]") -> None:
        self._engine = engine
        self._log = log
        self._task: asyncio.Task[None] | None = None

    def start(self, texts: Sequence[str]) -> None:
        """A chunk to come will have these prompts. Does not wait."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._encode(texts))
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Wait for no prompt any more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _encode(self, texts: Sequence[str]) -> None:
        with suppress(EngineUnavailable, InputRejected):  # the chunk that has them will tell
            await self._engine.encode(texts)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("Encoding a prompt ahead failed", exc_info=error)
