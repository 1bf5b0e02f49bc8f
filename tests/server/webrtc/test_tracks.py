import asyncio

import numpy as np
import pytest
from aiortc import VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from server.session.broadcast import Broadcast
from server.webrtc.tracks import OutputTrack, drain
from tests.server.running import PATIENCE_S


def picture(grey: int) -> np.ndarray:
    return np.full((4, 4, 3), grey, np.uint8)


def value(frame: VideoFrame) -> int:
    return int(frame.to_ndarray(format="rgb24")[0, 0, 0])


async def begun(*tracks: OutputTrack) -> list["asyncio.Task[VideoFrame]"]:
    """Have each wait for its first picture: with that it subscribes."""
    tasks = [asyncio.create_task(track.recv()) for track in tracks]
    await asyncio.sleep(0)
    return tasks


async def test_pictures_come_with_the_sessions_timestamps():
    broadcast, seen = Broadcast(), []
    track = OutputTrack(broadcast)
    (receiving,) = await begun(track)
    for pts in (100, 3100, 6100):
        broadcast.publish(picture(pts % 256), pts)
        frame = await receiving
        seen.append((frame.pts, value(frame)))
        (receiving,) = await begun(track)
    assert seen == [(100, 100), (3100, 3100 % 256), (6100, 6100 % 256)]
    track.stop()
    with pytest.raises(MediaStreamError):
        await receiving


async def test_what_a_slow_encoder_is_late_for_is_left_out_and_counted():
    missed: list[int] = []
    broadcast = Broadcast(missed=lambda: missed.append(1))
    track = OutputTrack(broadcast)
    (receiving,) = await begun(track)
    broadcast.publish(picture(0), 0)
    await receiving
    for pts in (3000, 6000, 9000):
        broadcast.publish(picture(0), pts)
    assert (await track.recv()).pts == 9000 and len(missed) == 2
    (receiving,) = await begun(track)
    assert not receiving.done()
    broadcast.publish(picture(0), 12_000)
    assert (await receiving).pts == 12_000


async def test_a_track_that_takes_nothing_delays_no_other():
    broadcast = Broadcast()
    quick, stuck = OutputTrack(broadcast), OutputTrack(broadcast)
    receiving, once = await begun(quick, stuck)
    seen = []
    for number in range(20, 32):
        broadcast.publish(picture(number), 3000 * number)
        seen.append(value(await receiving))
        (receiving,) = await begun(quick)
    assert value(await once) == 20, "and never again"
    assert seen == list(range(20, 32))
    assert value(await stuck.recv()) == 31
    receiving.cancel()


async def test_a_track_subscribes_when_it_is_first_read_and_until_it_is_stopped():
    broadcast = Broadcast()
    track = OutputTrack(broadcast)
    assert not broadcast.is_watched
    (receiving,) = await begun(track)
    assert broadcast.is_watched
    track.stop()
    assert not broadcast.is_watched
    with pytest.raises(MediaStreamError):
        await receiving
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert not broadcast.is_watched


async def test_a_track_that_was_stopped_before_it_was_read_gives_nothing():
    broadcast = Broadcast()
    track = OutputTrack(broadcast)
    track.stop()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(track.recv(), PATIENCE_S)
    assert not broadcast.is_watched


async def test_each_frame_is_announced_before_it_is_given_out():
    broadcast, announced = Broadcast(), []
    track = OutputTrack(broadcast, before_encoding=lambda: announced.append(1))
    (receiving,) = await begun(track)
    assert not announced
    broadcast.publish(picture(0), 0)
    await receiving
    assert announced == [1]


async def test_the_track_ends_with_the_session():
    broadcast = Broadcast()
    track = OutputTrack(broadcast)
    (receiving,) = await begun(track)
    broadcast.end()
    with pytest.raises(MediaStreamError):
        await receiving
    assert track.readyState == "ended"
    with pytest.raises(MediaStreamError):
        await OutputTrack(broadcast).recv()


async def test_drain_keeps_video_frames_until_the_track_ends():
    track, kept = VideoStreamTrack(), []

    def keep(frame: VideoFrame) -> None:
        kept.append(frame)
        if len(kept) == 3:
            track.stop()

    await drain(track, keep)
    assert len(kept) == 3
