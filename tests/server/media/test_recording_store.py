"""All recordings of a server: limits, finding them again, and leaving nothing behind."""

import asyncio
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import server.media.recording_store
from server.media.recording import Recording
from server.media.recording_store import RecordingRefused, RecordingStore
from server.protocol.replies import RecordingChanged
from server.settings import load_settings
from tests.server.running import PATIENCE_S, until

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
async def recordings():
    recordings = RecordingStore(load_settings({"max_recordings_mb": 1}))
    yield recordings
    await recordings.close()


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (144, 256, 3), np.uint8)


async def record(recording: Recording, count: int = 3) -> None:
    """Some pictures of noise, a twelfth of a second apart, without waiting for that time."""
    now = asyncio.get_running_loop().time()
    for number in range(count):
        recording.offer(noise(number), number * 7500, now + number / 12, None)
        await until(lambda: not recording.waiting, "the thread has taken the picture")


async def finished(recording: Recording) -> None:
    recording.stop(asyncio.get_running_loop().time())
    async with asyncio.timeout(PATIENCE_S):
        await recording.ended()


async def test_a_finished_recording_is_found_by_session_and_name(recordings):
    news: list[RecordingChanged] = []
    recording = recordings.start("mine", side_by_side=False, on_change=news.append)
    await record(recording)
    assert await recordings.find("mine", recording.name) is None, "not before it is finished"
    recording.stop(asyncio.get_running_loop().time())
    path = await recordings.find("mine", recording.name)
    assert path is not None and path.stat().st_size == news[-1].bytes
    assert [item.state for item in news] == ["recording", "stopped"]
    for session, name in [("other", recording.name), ("mine", "x.mp4"), ("mine", f"../{path.name}")]:
        assert await recordings.find(session, name) is None


async def test_a_recording_is_as_long_as_the_settings_allow():
    recordings = RecordingStore(load_settings({"max_recording_minutes": 0.5}))
    recording = recordings.start("mine", side_by_side=False, on_change=ignore)
    assert recording.name.startswith("depthlive-") and recording.name.endswith("-1.mp4")
    for second, is_over in ((0.0, False), (29.9, False), (30.0, True)):
        recording.offer(noise(0), round(second * 90_000), 7.0 + second, None)
        assert recording.is_over is is_over
    await recordings.close()


async def test_one_at_a_time_for_each_session(recordings):
    first = recordings.start("mine", side_by_side=False, on_change=ignore)
    other = recordings.start("other", side_by_side=False, on_change=ignore)
    with pytest.raises(RecordingRefused, match="running"):
        recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(first)
    await finished(first)
    again = recordings.start("mine", side_by_side=True, on_change=ignore)
    assert len({first.name, again.name, other.name}) == 3


async def test_the_oldest_finished_recording_gives_way(recordings):
    kept = []
    for _ in range(8):
        recording = recordings.start("mine", side_by_side=False, on_change=ignore)
        await record(recording, 8)
        await finished(recording)
        kept.append(recording)
    there = [await recordings.find("mine", recording.name) is not None for recording in kept]
    assert not there[0] and there[-1] and there == sorted(there)
    assert sum(r.bytes for r in kept if r.path.exists()) < 2 << 20
    assert [r.path.exists() for r in kept] == there


async def test_a_running_recording_is_stopped_when_the_room_is_used_up(recordings):
    news: list[RecordingChanged] = []
    recording = recordings.start("mine", side_by_side=False, on_change=news.append)
    for number in range(600):
        recording.offer(noise(number), number * 7500, 7.0 + number / 12, None)
        await until(lambda: not recording.waiting, "the thread has taken the picture")
        if recording.is_over:
            break
    await until(lambda: recording.has_ended, "it has ended")
    assert news[-1].state == "stopped" and "used up" in news[-1].detail
    assert (1 << 20) <= news[-1].bytes < (4 << 20)


async def test_a_full_disk_is_told_before_anything_is_written(recordings, monkeypatch):
    monkeypatch.setattr(server.media.recording_store.shutil, "disk_usage", lambda path: Usage(1, 1, 0))
    with pytest.raises(RecordingRefused, match="no room"):
        recordings.start("mine", side_by_side=False, on_change=ignore)


async def test_a_disk_that_fills_up_ends_the_recording(recordings, monkeypatch):
    news: list[RecordingChanged] = []
    recording = recordings.start("mine", side_by_side=False, on_change=news.append)
    monkeypatch.setattr(server.media.recording_store.shutil, "disk_usage", lambda path: Usage(1, 1, 0))
    await record(recording, 30)
    await until(lambda: recording.has_ended, "it has ended")
    assert "disk is nearly full" in news[-1].detail


async def test_many_small_recordings_are_too_many_all_the_same(recordings, monkeypatch):
    monkeypatch.setattr(server.media.recording_store, "MAX_FILES", 3)
    names = []
    for _ in range(5):
        recording = recordings.start("mine", side_by_side=False, on_change=ignore)
        await record(recording, 1)
        await finished(recording)
        names.append(recording.name)
    assert [await recordings.find("mine", name) is not None for name in names] == [
        False,
        False,
        True,
        True,
        True,
    ]


async def test_closing_ends_what_runs_and_deletes_everything():
    recordings = RecordingStore(load_settings({}))
    news: list[RecordingChanged] = []
    done = recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(done)
    await finished(done)
    running = recordings.start("mine", side_by_side=False, on_change=news.append)
    await record(running)
    folder = Path(running.path).parent
    assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0, "for nobody else's eyes"
    await recordings.close()
    await recordings.close()
    assert not folder.exists()
    assert news[-1].state == "stopped" and news[-1].detail == "the server is shutting down"
    with pytest.raises(RecordingRefused, match="shutting down"):
        recordings.start("mine", side_by_side=False, on_change=ignore)


async def test_nothing_is_made_on_the_disk_until_somebody_records(monkeypatch):
    monkeypatch.setattr(server.media.recording_store.tempfile, "TemporaryDirectory", None)
    await RecordingStore(load_settings({})).close()


def ignore(news: RecordingChanged) -> None:
    pass
