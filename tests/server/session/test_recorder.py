"""The recorder with a store that makes no files."""

from dataclasses import replace

import numpy as np
import pytest
from av import VideoFrame

from server.media.recording_store import RecordingRefused
from server.session.recorder import Recorder
from server.session.sound.playout import SoundBlock, SoundPlayout
from tests.server.pictures import CLAY, picture


class File:
    """A recording that notes what it is told."""

    def __init__(self) -> None:
        self.is_over = False
        self.offered: list[tuple] = []
        self.stopped: list[tuple[float, str]] = []

    def offer(self, rgb, pts, now, camera, fit) -> None:
        self.offered.append((rgb, pts, now, camera, fit))

    def stop(self, now, reason="") -> None:
        self.is_over = True
        self.stopped.append((now, reason))


class Store:
    def __init__(self) -> None:
        self.files: list[File] = []
        self.asked: list[tuple] = []
        self.with_sound: list[bool] = []

    def start(self, session, *, side_by_side, on_change, with_sound=False) -> File:
        if self.files and not self.files[-1].is_over:
            raise RecordingRefused("a recording of this session is running")
        self.asked.append((session, side_by_side, on_change))
        self.with_sound.append(with_sound)
        self.files.append(File())
        return self.files[-1]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def recorder(store):
    return Recorder(store, "abc", on_change=print)


def test_each_picture_goes_to_the_recording_that_runs_with_what_it_was_made_from(recorder, store):
    source = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
    shown = picture(source=source, parameters=replace(CLAY, fit="fit"))
    recorder.offer(shown, pts=1, now=1.0)
    assert not recorder.is_recording
    recorder.start(side_by_side=True)
    assert store.asked == [("abc", True, print)] and recorder.is_recording
    recorder.offer(shown, pts=2, now=2.0)
    recorder.stop(3.0, "the session ended")
    recorder.offer(shown, pts=4, now=4.0)
    (file,) = store.files
    assert file.stopped == [(3.0, "the session ended")] and not recorder.is_recording
    ((rgb, pts, now, camera, fit),) = file.offered
    assert rgb is shown.rgb and camera is shown.source and (pts, now, fit) == (2, 2.0, "fit")


def test_stopped_it_may_begin_again_and_stopping_nothing_is_nothing(recorder, store):
    recorder.stop(0.0)
    for _ in range(2):
        recorder.start(side_by_side=False)
        recorder.stop(1.0)
        recorder.stop(2.0)
    assert [file.stopped for file in store.files] == [[(1.0, "")], [(1.0, "")]]


def test_one_that_ended_by_itself_runs_no_more_and_another_may_begin(recorder, store):
    recorder.start(side_by_side=False)
    store.files[0].is_over = True  # it reached its longest time
    assert not recorder.is_recording
    recorder.start(side_by_side=False)
    assert recorder.is_recording and len(store.files) == 2


def test_one_that_is_refused_leaves_the_one_that_runs(recorder, store):
    recorder.start(side_by_side=False)
    with pytest.raises(RecordingRefused, match="running"):
        recorder.start(side_by_side=False)
    recorder.offer(picture(), pts=0, now=0.0)
    assert len(store.files[0].offered) == 1 and recorder.is_recording


def test_a_server_without_recordings_says_so():
    recorder = Recorder(None, "abc", on_change=print)
    with pytest.raises(RecordingRefused, match="keeps no recordings"):
        recorder.start(side_by_side=False)
    assert not recorder.is_recording


async def test_sound_is_recorded_if_there_has_been_any_and_heard_until_the_end(store):
    sound = SoundPlayout(lambda: 0.0)
    recorder, heard = Recorder(store, "abc", print, sound), []
    recorder.start(side_by_side=False)
    recorder.stop(1.0)
    sound.packet(0, b"x")
    for _ in range(2):
        recorder.start(side_by_side=False)
        store.files[-1].hear = lambda samples, time: heard.append(time)
        for listener in sound._listeners:
            listener(SoundBlock(0, 2.0, b"", np.zeros((960, 2), np.int16)))
        recorder.stop(3.0)
        assert not sound._listeners
    assert heard == [2.0, 2.0] and store.with_sound == [False, True, True]
    sound.close()
