"""A recording by itself: the test is the session, and brings the clock."""

import asyncio
import errno
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame

import server.media.recording
from server.media.movie_file import MovieFile
from server.media.pacing import MediaClock
from server.media.recording import WAITING_BLOCKS, WAITING_PICTURES, Recording, RecordingClock
from server.protocol.replies import RecordingChanged
from tests.server.running import PATIENCE_S, until

TICK = 3750  # a picture of 24 a second, in 1/90000 s


def flat(value: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def camera_frame(value: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(flat(value, 160, 90), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    return frame


def read(path: Path) -> list[tuple[float, np.ndarray]]:
    """(seconds, pixels) of every picture."""
    with av.open(str(path)) as container:
        return [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


class Stage:
    """A recording, its news, and a clock that the test turns: it is what the loop shows it, too."""

    def __init__(
        self, folder: Path, side_by_side: bool = False, max_seconds: float = 60, with_sound: bool = False
    ) -> None:
        self.now = 100.0
        self.news: list[RecordingChanged] = []
        self.recording = Recording(
            "session", "a.mp4", folder / "1.mp4", side_by_side, max_seconds, self.news.append, with_sound
        )
        self._pts = 0

    def show(self, value: int, after: float = 1 / 24, camera: VideoFrame | None = None) -> None:
        """A picture, `after` seconds after the last one on both clocks."""
        self.now += after
        self._pts += round(after * 90_000)
        self.recording.offer(flat(value), self._pts, self.now, camera)

    async def written(self) -> None:
        """Wait until the thread has taken all that was offered."""
        await until(
            lambda: not self.recording.waiting or self.recording.has_ended, "the thread has taken all"
        )

    async def stop(self) -> RecordingChanged:
        self.recording.stop(self.now)
        return await self.over()

    async def over(self) -> RecordingChanged:
        async with asyncio.timeout(PATIENCE_S):
            await self.recording.ended()
        return self.news[-1]


async def test_what_is_shown_is_in_the_file(tmp_path):
    stage = Stage(tmp_path)
    for number in range(48):
        stage.show(5 * number)
        await stage.written()
    last = await stage.stop()
    pictures = read(stage.recording.path)
    assert len(pictures) == 48
    assert all(abs(pixels.mean() - 5 * number) < 4 for number, (_, pixels) in enumerate(pictures))
    assert pictures[-1][0] == pytest.approx(47 / 24, abs=1e-3)
    assert (last.state, last.name, last.detail) == ("stopped", "a.mp4", "")
    assert last.seconds == pytest.approx(47 / 24, abs=0.01)
    assert last.bytes == stage.recording.path.stat().st_size


async def test_news_come_once_a_second_then_the_end(tmp_path):
    stage = Stage(tmp_path)
    for number in range(60):
        stage.show(number)
        await stage.written()
    await until(lambda: len(stage.news) > 1, "what the thread has told")
    assert stage.news[-1].bytes > 0
    await stage.stop()
    assert [news.state for news in stage.news] == ["recording", "recording", "stopped"]
    assert [news.seconds for news in stage.news] == [1.0, 2.0, 2.46]


async def test_a_pause_is_a_still_in_the_recording(tmp_path):
    stage = Stage(tmp_path)
    stage.show(10)
    stage.show(20, after=5.0)
    await stage.stop()
    assert [seconds for seconds, _ in read(stage.recording.path)] == pytest.approx([0, 5])


async def test_a_recording_stopped_in_a_pause_lasts_until_then(tmp_path):
    stage = Stage(tmp_path)
    stage.show(10)
    stage.now += 3
    assert (await stage.stop()).seconds == 3.0
    pictures = read(stage.recording.path)
    assert pictures[-1][0] == pytest.approx(3) and abs(pictures[-1][1].mean() - 10) < 4


async def test_a_peer_that_comes_back_with_another_clock_goes_on_in_the_same_file(tmp_path):
    stage = Stage(tmp_path)
    for _ in range(3):
        stage.show(10)
    stage._pts = -90_000_000  # the new peer's track counts from elsewhere
    stage.show(20, after=2.0)
    stage.show(30)
    await stage.stop()
    seconds = [seconds for seconds, _ in read(stage.recording.path)]
    assert seconds == pytest.approx([0, 1 / 24, 2 / 24, 2 / 24 + 2, 3 / 24 + 2], abs=1e-3)


async def test_side_by_side_has_the_camera_on_the_left(tmp_path):
    stage = Stage(tmp_path, side_by_side=True)
    stage.show(200)  # before the first camera picture
    stage.show(200, camera=camera_frame(80))
    await stage.stop()
    (_, early), (_, pixels) = read(stage.recording.path)
    assert pixels.shape == early.shape == (48, 128, 3)
    assert abs(pixels[:, :60].mean() - 80) < 5 and abs(pixels[:, 68:].mean() - 200) < 5


async def test_beside_it_the_camera_is_fitted_as_the_stream_is(tmp_path):
    stage = Stage(tmp_path, side_by_side=True)
    for fit in ("fill", "fit"):
        stage.now += 1 / 24
        upright = VideoFrame.from_ndarray(np.full((64, 48, 3), 200, np.uint8))
        stage.recording.offer(flat(200), 90_000, stage.now, upright, fit)
    await stage.stop()
    (_, filled), (_, fitted) = read(stage.recording.path)[:2]
    assert filled[:, 2:60].min() > 150
    assert fitted[:, :8].max() < 60 and fitted[:, 20:44].min() > 150


async def test_a_thread_that_is_behind_costs_pictures_and_no_time(tmp_path, monkeypatch):
    """The stream is never delayed: what the queue cannot hold is dropped and counted."""
    may_write, write = threading.Event(), MovieFile.write

    def held(self, rgb, pts):
        may_write.wait()
        write(self, rgb, pts)

    monkeypatch.setattr(MovieFile, "write", held)
    stage = Stage(tmp_path)
    for number in range(10 * WAITING_PICTURES):
        stage.show(number % 256)  # one that waited would wait for ever
    recording = stage.recording
    assert recording.waiting == WAITING_PICTURES
    assert recording.dropped in (9 * WAITING_PICTURES, 9 * WAITING_PICTURES - 1), "one is with the thread"
    may_write.set()
    last = await stage.stop()
    assert f"{recording.dropped} pictures were dropped" in last.detail
    assert len(read(recording.path)) == 10 * WAITING_PICTURES - recording.dropped


async def test_it_ends_by_itself_at_the_longest_time(tmp_path):
    stage = Stage(tmp_path, max_seconds=2.0)
    for number in range(60):
        stage.show(number)
        await stage.written()
    last = await stage.over()
    assert last.state == "stopped" and "limit" in last.detail and last.seconds < 2.0
    assert len(read(stage.recording.path)) == 48


async def test_a_paused_recording_is_no_longer_than_the_longest_time(tmp_path):
    stage = Stage(tmp_path, max_seconds=2.0)
    stage.show(10)
    stage.now += 3600
    assert (await stage.stop()).seconds == 2.0


async def test_a_recording_without_pictures_has_failed(tmp_path):
    last = await Stage(tmp_path).stop()
    assert last.state == "failed" and "not one picture" in last.detail


async def test_a_file_that_cannot_be_written_is_told(tmp_path, caplog):
    stage = Stage(tmp_path / "none")
    stage.show(10)
    last = await stage.over()
    assert last.state == "failed" and "could not be written" in last.detail
    stage.show(20)  # is ignored
    assert "Recording a.mp4 failed" in caplog.text


async def test_a_coder_that_fails_in_mid_file_leaves_what_there_was(tmp_path, monkeypatch, caplog):
    def write(self, rgb, pts):
        if pts > 45_000:
            raise ValueError("no")
        return original(self, rgb, pts)

    original = server.media.recording.MovieFile.write
    monkeypatch.setattr(server.media.recording.MovieFile, "write", write)
    stage = Stage(tmp_path)
    for number in range(24):
        stage.show(number)
        await stage.written()
    assert (await stage.over()).state == "failed"
    assert len(read(stage.recording.path)) == 13


async def test_law_a_full_disk_tells_no_path_and_the_true_length(tmp_path, monkeypatch, caplog):
    def write(self, rgb, pts):
        if pts > 3 * 90_000:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))
        return original(self, rgb, pts)

    original = server.media.recording.MovieFile.write
    monkeypatch.setattr(server.media.recording.MovieFile, "write", write)
    stage = Stage(tmp_path)
    for number in range(100):
        stage.show(number)
        await stage.written()
        if stage.recording.is_over:
            break
    last = await stage.over()
    assert last.state == "failed" and last.detail.startswith("the recording could not be written: No space")
    assert str(tmp_path) not in last.detail and "/" not in last.detail
    assert last.seconds == pytest.approx(read(stage.recording.path)[-1][0], abs=0.01) and last.seconds > 2
    assert last.bytes == stage.recording.path.stat().st_size


async def test_stopping_twice_is_stopping(tmp_path):
    stage = Stage(tmp_path)
    stage.show(10)
    stage.recording.stop(stage.now, "first")
    stage.recording.stop(stage.now, "second")
    assert (await stage.over()).detail == "first"
    assert [news.state for news in stage.news] == ["stopped"]


def test_the_clock_keeps_the_media_clocks_spacing_through_a_jittery_hand_over():
    media, clock, now = MediaClock(), RecordingClock(), 50.0
    places = []
    for number in range(100):
        jitter = 0.02 * (number % 3)
        places.append(clock.place(media.tick(1 / 24, now + jitter), now + jitter))
        now += 1 / 24
    assert set(np.diff(places)) == {TICK}


@pytest.mark.parametrize(("off", "follows"), [(0.24, False), (0.26, True), (-0.24, False), (-0.26, True)])
def test_the_clock_follows_the_wall_clock_when_they_differ_by_a_quarter_of_a_second(off, follows):
    clock = RecordingClock()
    clock.place(500, 10.0)
    place = clock.place(500 + round(90_000 * (1 + off)), 11.0)
    assert place == round(90_000 * (1 if follows else 1 + off))


@pytest.mark.parametrize(("after", "end"), [(0.2, None), (0.25, None), (0.3, 27_000), (9.0, 810_000)])
def test_the_last_picture_is_shown_once_more_where_it_stayed_for_long(after, end):
    clock = RecordingClock()
    assert clock.end(5.0) is None, "there was none"
    clock.place(123, 10.0)
    assert clock.end(10.0 + after) == end


def test_the_clock_always_rises():
    clock = RecordingClock()
    places = [clock.place(pts, now) for pts, now in [(0, 1.0), (0, 1.0), (-5, 1.0), (10**9, 1.1), (0, 1.1)]]
    assert all(later > earlier for earlier, later in zip(places, places[1:], strict=False))
    assert places[-1] < 90_000


def test_an_hour_of_drift_between_the_clocks_does_not_add_up():
    """A media clock a tenth of a percent fast is 3.6 s ahead after an hour; the recording is not."""
    clock = RecordingClock()
    places = [clock.place(round(second * 90_000 * 1.001), 7.0 + second) for second in range(3600)]
    assert max(abs(place - second * 90_000) for second, place in enumerate(places)) <= 0.26 * 90_000


# Sound.


def block(level: int = 0) -> np.ndarray:
    """20 ms; loud at the beginning, if at all."""
    samples = np.zeros((960, 2), np.int16)
    samples[:240] = np.rint(level * np.sin(np.arange(240) * 2 * np.pi * 2000 / 48_000))[:, None]
    return samples


def clicks(path: Path) -> list[float]:
    """When something loud begins, in seconds; not at the very beginning, which the coder fades in."""
    with av.open(str(path)) as container:
        frames = [(float(f.pts * f.time_base), np.abs(f.to_ndarray()[0])) for f in container.decode(audio=0)]
    loud = [begin + int(at) / 48_000 for begin, wave in frames for at in np.flatnonzero(wave > 0.2)]
    return [time for n, time in enumerate(loud) if time > 0.1 and (n == 0 or time - loud[n - 1] > 0.1)]


async def record_clicks(stage: Stage, seconds: int, skipped: range = range(0)) -> None:
    """A white picture and a click each second, on the clock."""
    began = stage.now
    for n in range(50 * seconds):
        if n % 2 == 0:
            stage.show(255 if n % 50 == 0 else 0, after=began + n / 50 - stage.now)
        if n not in skipped:
            stage.recording.hear(block(20_000 if n % 50 == 0 else 0), began + n / 50)
        if n % 10 == 0:
            await stage.written()


async def test_law_a_click_is_heard_when_its_picture_is_seen(tmp_path):
    stage = Stage(tmp_path, with_sound=True)
    await record_clicks(stage, 5)
    await stage.stop()
    assert clicks(stage.recording.path) == pytest.approx([1, 2, 3, 4], abs=0.005)
    seen = [seconds for seconds, pixels in read(stage.recording.path) if pixels.mean() > 128]
    assert seen == pytest.approx([0, 1, 2, 3, 4], abs=0.001)


@pytest.mark.parametrize("skipped", [range(60, 80), range(10, 140)])
async def test_law_what_was_not_heard_is_silence_and_what_follows_is_in_its_place(tmp_path, skipped):
    stage = Stage(tmp_path, with_sound=True)
    await record_clicks(stage, 5, skipped)
    await stage.stop()
    expected = [n for n in (1, 2, 3, 4) if 50 * n not in skipped]
    assert clicks(stage.recording.path) == pytest.approx(expected, abs=0.005)


async def test_law_sound_before_the_first_picture_is_left_out(tmp_path):
    stage = Stage(tmp_path, with_sound=True)
    stage.recording.hear(block(20_000), stage.now - 0.1)
    await record_clicks(stage, 2)
    await stage.stop()
    assert clicks(stage.recording.path)[-1] == pytest.approx(1, abs=0.005)


async def test_without_sound_the_file_has_none(tmp_path):
    stage = Stage(tmp_path)
    stage.recording.hear(block(20_000), stage.now)
    await record_clicks(stage, 2)
    await stage.stop()
    with av.open(str(stage.recording.path)) as container:
        assert not container.streams.audio


async def test_law_times_that_are_a_sample_off_leave_no_hole(tmp_path):
    stage = Stage(tmp_path, with_sound=True)
    stage.show(0)
    tone = np.rint(10_000 * np.sin(np.arange(48_000) * 2 * np.pi * 500 / 48_000)).astype(np.int16)
    for n in range(50):
        time = stage.now + n / 50 + (n % 3 - 1) / 48_000
        stage.recording.hear(np.repeat(tone[n * 960 : n * 960 + 960, None], 2, 1), time)
    stage.show(0, after=2.0)
    await stage.stop()
    with av.open(str(stage.recording.path)) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.abs(np.diff(wave[4800:43_200], 2)).max() < 0.01


async def test_law_sound_that_the_thread_is_behind_with_is_bounded(tmp_path):
    stage = Stage(tmp_path, with_sound=True)
    stage.show(0)
    await stage.written()
    for n in range(1000):
        stage.recording.hear(block(), stage.now + n / 50)
    assert len(stage.recording._heard) == WAITING_BLOCKS
    await stage.stop()
