"""The system's clock is set while a server runs: by a day forwards, and backwards."""

import asyncio
import datetime
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import aiortc.clock
import numpy as np
import pytest

from server.media.recording_store import RecordingStore
from server.settings import load_settings
from tests.server.running import RunningServer, until

DAY_S = 86_400.0


def set_clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """By so much, for this process and for aiortc."""
    now = time.time

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time(), tz)

    patch.setattr(time, "time", lambda: now() + seconds)
    shifted = {"datetime": Shifted, "timedelta": datetime.timedelta, "timezone": datetime.timezone}
    patch.setattr(aiortc.clock, "datetime", SimpleNamespace(**shifted))


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S, 40 * 365 * DAY_S])
async def test_law_a_clock_that_is_set_stops_no_stream(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    async with server.viewer() as viewer:
        await viewer.live()
        id = viewer.location.rpartition("/")[2]
        with monkeypatch.context() as patch:
            set_clock(patch, seconds)
            before = (await server.json(f"/sessions/{id}"))["figures"]
            viewer.frames.clear()
            await until(lambda: len(viewer.frames) > 90, "pictures")
            after = (await server.json(f"/sessions/{id}"))["figures"]
        assert after["state"] == "live" and after["camera_frames"] > before["camera_frames"]
        assert 0 <= after["uptime_s"] - before["uptime_s"] < 600
        assert (await server.json("/api/info"))["sessions"] == 1


async def test_law_a_clock_that_is_set_forwards_takes_no_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a clock of its own begins in 1970, and hears later what day it is."""
    now, set_by = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + set_by[0])
    recordings = RecordingStore(load_settings({"recordings_dir": tmp_path, "recording_hours": 24}))
    await recordings.open()
    recording = recordings.start("s", side_by_side=False, on_change=lambda news: None)
    began = asyncio.get_running_loop().time()
    recording.offer(np.zeros((48, 64, 3), np.uint8), 0, began, None)
    await until(lambda: not recording.waiting, "the thread has taken the picture")
    recording.stop(began + 1)
    await recording.ended()
    set_by[0] = 40 * 365 * DAY_S
    path = await recordings.find("s", recording.name)
    assert path is not None and path.is_file()
    await recordings.close()
