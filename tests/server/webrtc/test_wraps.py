"""Numbers of RTP that wrap while a stream runs: 16 bits of sequence, 32 of time (13 hours at 90 kHz)."""

import itertools
from itertools import pairwise

import aiortc.rtcrtpsender
import pytest
from av import VideoFrame

from server.session.camera import CameraFeed
from tests.server.running import RunningServer, until

LEFT = 45_000  # of 90 kHz until times wrap: half a second


async def test_law_sequence_numbers_and_times_wrap_in_both_directions_unseen(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the camera and of what is sent back: times go on rising evenly."""
    near_the_end = itertools.count(2**32 - LEFT)  # sources are drawn from it, too: each has its own
    monkeypatch.setattr(aiortc.rtcrtpsender, "random32", lambda: next(near_the_end))
    monkeypatch.setattr(aiortc.rtcrtpsender, "random_sequence_number", lambda: 2**16 - 20)
    camera: list[VideoFrame] = []
    push = CameraFeed.push
    monkeypatch.setattr(
        CameraFeed, "push", lambda feed, frame, now: camera.append(frame) or push(feed, frame, now)
    )
    async with server.viewer() as viewer:
        await viewer.live()
        await until(lambda: len(viewer.frames) > 120 and len(camera) > 120, "pictures through the wrap")
    for frames in (camera, viewer.frames):
        times = [frame.time for frame in frames if frame.time is not None]
        assert len(times) == len(frames)
        steps = [after - before for before, after in pairwise(times)]
        assert min(steps) > 0 and max(steps) < 60.0, "a wrap is 13 hours"
        assert times[-1] - times[0] > 2 * LEFT / 90_000
