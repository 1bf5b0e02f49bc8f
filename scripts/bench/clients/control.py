"""The benchmark's side of the control messages: prompts at set times, their answers, the closing figures."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from scripts.bench.figures.run_record import PromptSwitch, RunRecord

PING_PERIOD_S = 2.0
APPLIED_LIMIT_S = 10.0
STATS_LIMIT_S = 5.0
SWITCH_LIMIT_S = 60.0
SWITCH_PAUSE_S = (0.8, 1.8)  # at random between: a switch must not fall in step with the chunks
LOOKS = ("a winter forest", "a statue of molten gold", "folded paper", "a cave of ice")


class Control:
    """One session's control messages, whatever carries them.

    `send` takes a text, and may drop it while the way is not open. Give every text received to `receive`.
    """

    def __init__(self, recording: RunRecord, send: Callable[[str], None]) -> None:
        self.is_live = False
        self._recording = recording
        self._send = send
        self._ids = count(1)
        self._stats_came = asyncio.Event()
        self._last_applied = asyncio.Event()
        self._last_applied.set()
        self._waiting: dict[str, tuple[PromptSwitch, float]] = {}

    def receive(self, raw: str | bytes) -> None:
        """Note one message of the server."""
        message = json.loads(raw)
        recording, now = self._recording, time.monotonic()
        match message["type"]:
            case "hello":
                recording.session, recording.model = message["session"], message["model"]
            case "state":
                self.is_live = message["state"] == "live"
                recording.states.append((round(now - recording.offered, 3), message["state"]))
            case "telemetry":
                recording.telemetry.append(message)
                if message.get("chunk") is not None:
                    recording.chunk_times.append((now, message["chunk"]))
            case "stats":
                recording.stats = message
                self._stats_came.set()
            case "ack" | "applied" | "superseded":
                self._answered(message)
            case "error":
                recording.errors.append(message["message"])

    async def switch_evenly(self, seconds: float, prompts: Sequence[str]) -> None:
        """Spread the prompts over the run; a run gets longer where the last one still has to take effect."""
        share = seconds / (len(prompts) + 1)
        for text in prompts:
            await asyncio.sleep(share)
            self._switch(text)
        await asyncio.sleep(share)
        await self._settle(APPLIED_LIMIT_S)

    async def switch_often(self, times: int) -> None:
        """Switch `times` times at random moments, one after the other; the report says which came late."""
        for number in range(times):
            await asyncio.sleep(random.uniform(*SWITCH_PAUSE_S))
            await self.ask_stats()
            on_show = (self._recording.stats or {}).get("chunk")
            self._switch(f"{random.choice(LOOKS)} {number}", on_show)
            await self._settle(SWITCH_LIMIT_S)

    async def ask_stats(self) -> None:
        """The session's figures of now, into the recording."""
        self._stats_came.clear()
        self._say({"type": "stats", "id": self._id()})
        try:
            async with asyncio.timeout(STATS_LIMIT_S):
                await self._stats_came.wait()
        except TimeoutError:
            self._recording.errors.append(f"no answer to `stats` within {STATS_LIMIT_S:g} s")

    async def heartbeat(self) -> None:
        """For ever: without it the server takes its peer for lost."""
        while True:
            self._say({"type": "ping", "id": self._id()})
            await asyncio.sleep(PING_PERIOD_S)

    def _switch(self, text: str, on_show: int | None = None) -> None:
        switch, id = PromptSwitch(text, chunk_at_send=on_show), self._id()
        self._recording.switches.append(switch)
        self._waiting[id] = (switch, time.monotonic())
        self._last_applied.clear()
        self._say({"type": "prompt.set", "id": id, "text": text})

    async def _settle(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):  # the report says which were not applied
            async with asyncio.timeout(limit_s):
                await self._last_applied.wait()

    def _answered(self, message: dict[str, Any]) -> None:
        if message["id"] not in self._waiting:
            return
        switch, sent = self._waiting[message["id"]]
        elapsed_ms = 1000 * (time.monotonic() - sent)
        if message["type"] == "ack":
            switch.acknowledged_ms = elapsed_ms
            return
        if message["type"] == "superseded":
            switch.is_superseded = True
            return
        switch.applied_ms = elapsed_ms
        switch.server_latency_ms = message["latency_ms"]
        switch.chunk, switch.frame = message["chunk"], message["frame"]
        if switch is self._recording.switches[-1]:
            self._last_applied.set()

    def _say(self, message: dict[str, Any]) -> None:
        self._send(json.dumps(message))

    def _id(self) -> str:
        return f"bench-{next(self._ids)}"
