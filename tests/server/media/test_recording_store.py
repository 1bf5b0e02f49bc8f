"""All recordings of a server: limits, finding them again, and leaving nothing behind."""

import asyncio
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import server.media.recording_store
from server.media.folder_lock import FolderLock
from server.media.movie_file import MovieFile, playing_seconds
from server.media.recording import Recording
from server.media.recording_store import (
    FETCH_S,
    MAX_FILES_OF_SESSION,
    TEMPORARY,
    RecordingRefused,
    RecordingStore,
    RecordingsUnusable,
)
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
    folder = Path(running.path).parent.parent
    assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0, "for nobody else's eyes"
    await recordings.close()
    await recordings.close()
    assert not folder.exists()
    assert news[-1].state == "stopped" and news[-1].detail == "the server is shutting down"
    with pytest.raises(RecordingRefused, match="shutting down"):
        recordings.start("mine", side_by_side=False, on_change=ignore)


async def test_law_what_one_session_records_takes_nothing_from_another(recordings):
    kept = recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(kept)
    await finished(kept)
    for _ in range(2 * MAX_FILES_OF_SESSION):
        other = recordings.start("other", side_by_side=False, on_change=ignore)
        await record(other, 2)
        await finished(other)
    assert await recordings.find("mine", kept.name) is not None
    assert len(list(other.path.parent.iterdir())) <= MAX_FILES_OF_SESSION


async def test_law_empty_recordings_are_not_kept_and_do_not_count(recordings):
    kept = recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(kept)
    await finished(kept)
    for _ in range(MAX_FILES_OF_SESSION + 1):
        empty = recordings.start("mine", side_by_side=False, on_change=ignore)
        await finished(empty)
        assert await recordings.find("mine", empty.name) is None
    assert await recordings.find("mine", kept.name) is not None
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.name]


async def test_recordings_of_others_give_way_once_there_was_time_to_fetch_them():
    clock = [1000.0]
    settings = load_settings({"max_recordings_mb": 1, "max_session_recordings_mb": 1})
    recordings = RecordingStore(settings, wall=lambda: clock[0])
    first = recordings.start("first", side_by_side=False, on_change=ignore)
    for number in range(600):
        first.offer(noise(number), number * 7500, 7.0 + number / 12, None)
        await until(lambda: not first.waiting, "the thread has taken the picture")
        if first.is_over:
            break
    await finished(first)
    with pytest.raises(RecordingRefused, match="no room"):
        recordings.start("second", side_by_side=False, on_change=ignore)
    clock[0] += FETCH_S + 1
    second = recordings.start("second", side_by_side=False, on_change=ignore)
    assert await recordings.find("first", first.name) is None and not first.path.exists()
    await finished(second)
    await recordings.close()


async def test_law_a_recording_goes_when_it_is_too_old():
    clock = [1000.0]
    recordings = RecordingStore(load_settings({"recording_hours": 2.0}), wall=lambda: clock[0])
    recording = recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(recording)
    await finished(recording)
    clock[0] += 2 * 3600
    assert await recordings.find("mine", recording.name) is not None
    clock[0] += 1
    assert await recordings.find("mine", recording.name) is None and not recording.path.exists()
    await recordings.close()


async def test_law_recordings_in_a_folder_of_their_own_outlive_the_server(tmp_path):
    settings = load_settings({"recordings_dir": tmp_path / "films"})
    recordings = RecordingStore(settings)
    await recordings.open()
    recording = recordings.start("mine", side_by_side=False, on_change=ignore)
    await record(recording)
    await recordings.close()  # as at SIGTERM, while it runs
    again = RecordingStore(settings)
    await again.open()
    path = await again.find("mine", recording.name)
    assert path is not None and playing_seconds(path) == pytest.approx(2 / 12)
    assert await again.find("other", recording.name) is None
    assert (tmp_path / "films").stat().st_mode & 0o077 == 0
    await again.close()


async def test_law_the_owners_mark_stays_as_long_as_a_recording_does(tmp_path):
    settings, marks = load_settings({"recordings_dir": tmp_path}), {"mine": "0a" * 32}
    for name in ("empty", "strange"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty" / "owner").write_text("1b" * 32)
    (tmp_path / "strange" / "owner").write_text("somebody's own")
    recordings = RecordingStore(settings, marks.get)
    await recordings.open()
    assert recordings.mark("mine") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "strange"]
    for session in ("mine", "nobodys"):
        recording = recordings.start(session, side_by_side=False, on_change=ignore)
        await record(recording)
        await finished(recording)
    await finished(recordings.start("mine", side_by_side=False, on_change=ignore))  # empty
    await recordings.close()
    again = RecordingStore(settings)
    await again.open()
    assert (again.mark("mine"), again.mark("nobodys"), again.mark("strange")) == (marks["mine"], None, None)
    while again._drop_oldest():
        pass
    assert again.mark("mine") is None
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"lock", "strange", "strange/owner"}
    await again.close()


async def test_law_what_a_killed_server_left_is_finished_or_swept_and_nothing_else_is_touched(tmp_path):
    session = tmp_path / "mine"
    session.mkdir()
    file = MovieFile(session / "depthlive-1.mp4.part", (256, 144))
    for number in range(30):
        file.write(noise(number), number * 7500)
    (session / "depthlive-2.mp4.part").write_bytes((session / "depthlive-1.mp4.part").read_bytes())
    file.close()
    (session / "depthlive-1.mp4.part").unlink()
    (session / "depthlive-3.mp4.part").write_bytes(b"ftyp")
    for name in ("mine/notes.txt", "mine/my film.mp4.part", "depthlive-9.mp4"):
        (tmp_path / name).write_text("somebody's own")
    recordings = RecordingStore(load_settings({"recordings_dir": tmp_path}))
    await recordings.open()
    path = await recordings.find("mine", "depthlive-2.mp4")
    assert path is not None and playing_seconds(path) > 1.5
    assert await recordings.find("mine", "depthlive-3.mp4") is None
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    own = {"mine/notes.txt", "mine/my film.mp4.part", "depthlive-9.mp4"}
    assert left == {"mine/depthlive-2.mp4", "lock"} | own
    await recordings.close()


async def test_law_one_server_has_a_folder_at_a_time(tmp_path):
    settings = load_settings({"recordings_dir": tmp_path})
    first, second = RecordingStore(settings), RecordingStore(settings)
    await first.open()
    with pytest.raises(RecordingsUnusable, match="in use by another server"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecordingsUnusable, match="recordings_dir"):
        await RecordingStore(load_settings({"recordings_dir": tmp_path / "file"})).open()


async def test_law_temporary_folders_of_killed_servers_go_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(server.media.recording_store.tempfile, "tempdir", str(tmp_path))
    dead, alive, foreign = (tmp_path / f"{TEMPORARY}{name}" for name in ("dead", "alive", "foreign"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
        (folder / "1.mp4").write_text("film")
    FolderLock(dead).release()
    lock = FolderLock(alive)
    recordings = RecordingStore(load_settings({}))
    recording = recordings.start("mine", side_by_side=False, on_change=ignore)
    assert [folder.exists() for folder in (dead, alive, foreign)] == [False, True, True]
    await finished(recording)
    await recordings.close()
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, foreign.name}
    lock.release()


async def test_nothing_is_made_on_the_disk_until_somebody_records(monkeypatch):
    monkeypatch.setattr(server.media.recording_store.tempfile, "mkdtemp", None)
    await RecordingStore(load_settings({})).close()


def ignore(news: RecordingChanged) -> None:
    pass
