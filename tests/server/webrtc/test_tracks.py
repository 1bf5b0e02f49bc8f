import asyncio

import numpy as np
import pytest
from aiortc import MediaStreamTrack, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from server.live.broadcast import Broadcast
from server.live.pacing import MediaClock, Pacer
from server.media.frames import Picture
from server.webrtc.tracks import POLL_S, OutputTrack, drain

pytestmark = pytest.mark.virtual_time  # when a picture goes out is what is tested here


class Scene:
    """What an OutputTrack shows, set by hand."""

    def __init__(self) -> None:
        self.media_clock = MediaClock()
        self.pacer: Pacer[Picture] = Pacer(self.media_clock)
        self.changed = asyncio.Event()
        self.broadcast = Broadcast()
        self.picture: Picture | None = None
        self.note: str | None = None
        self.camera: VideoFrame | None = None
        self.size = (64, 48)
        self.is_paused = False
        self.was_shown: list[int] = []
        self.pts_shown: list[int] = []

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        self.picture = picture
        self.was_shown.append(picture.frame)
        self.pts_shown.append(pts)

    def push(self, values: range, span: float) -> None:
        pictures = [
            Picture(
                rgb=np.full((48, 64, 3), value, np.uint8),
                chunk=0,
                frame=value,
                turn=0,
                captured=0.0,
                made=0.0,
            )
            for value in values
        ]
        self.pacer.push(pictures, span, asyncio.get_running_loop().time())
        self.changed.set()


@pytest.fixture
async def scene():
    return Scene()


@pytest.fixture
async def track(scene):
    return OutputTrack(scene, asyncio.get_running_loop().time)


def value(frame: VideoFrame) -> int:
    return int(frame.to_ndarray(format="rgb24")[0, 0, 0])


async def test_pictures_come_in_order_evenly_and_are_reported(scene, track):
    scene.push(range(10, 16), span=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    frames = [await track.recv() for _ in range(6)]
    assert [value(f) for f in frames] == list(range(10, 16)) == scene.was_shown
    assert loop.time() - began == pytest.approx(0.25)
    assert [f.pts for f in frames] == scene.pts_shown
    assert np.diff([f.pts for f in frames]) == pytest.approx(0.05 * 90_000)


async def test_a_starved_track_waits_for_the_next_chunk(scene, track):
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0.05)
    assert not receiving.done()
    scene.push(range(3, 4), span=0.1)
    assert value(await receiving) == 3


async def test_a_chunk_that_comes_before_it_was_expected_is_not_slept_through(scene, track):
    now = asyncio.get_running_loop().time
    scene.push(range(3), span=0.1)
    await track.recv()
    scene.pacer.expect(now() + 20, now())  # a picture every seven seconds
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0.05)
    scene.push(range(3, 6), span=0.1)
    began = now()
    assert value(await receiving) == 1 and now() - began <= POLL_S


async def test_news_of_a_delay_reach_a_picture_that_waits_and_pts_keep_to_the_clock(scene, track):
    now = asyncio.get_running_loop().time
    scene.push(range(3), span=0.3)
    first, began = await track.recv(), now()
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0.02)
    scene.pacer.expect(now() + 1.2, now())
    second = await receiving
    assert (second.pts - first.pts) / 90_000 == pytest.approx(now() - began, abs=1e-4)
    assert (second.pts - first.pts) / 90_000 > 0.25


async def test_the_camera_is_passed_through_while_there_is_a_note(scene, track):
    scene.note = "warming"
    neutral = await track.recv()
    assert (neutral.width, neutral.height) == scene.size
    scene.camera = VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8))
    camera = await track.recv()
    assert (camera.width, camera.height) == scene.size
    assert abs(value(camera) - 90) < 5
    assert camera.pts > neutral.pts
    assert scene.was_shown == []


async def test_what_goes_out_is_on_air_with_its_pts(scene, track):
    scene.note = "warming"
    for _ in range(2):
        frame = await track.recv()
        sent = await scene.broadcast.after(0)
        assert sent.pts == frame.pts and sent.rgb[0, 0, 0] == value(frame)
        scene.note = None
        scene.push(range(8, 9), span=0.1)


async def test_pts_go_on_from_passthrough_to_pictures(scene, track):
    scene.note = "waiting"
    passed = [await track.recv() for _ in range(3)]
    scene.note = None
    scene.push(range(2), span=0.1)
    played = [await track.recv() for _ in range(2)]
    pts = [f.pts for f in passed + played]
    assert pts == sorted(set(pts))


async def test_a_swept_queue_does_not_stop_the_track(scene, track):
    scene.push(range(2), span=1.0)
    await track.recv()
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0.02)
    scene.pacer.clear()
    await asyncio.sleep(0.7)  # the picture that was swept would have been due by now
    scene.push(range(7, 8), span=0.1)
    assert value(await receiving) == 7


async def test_while_paused_the_picture_stays_and_comes_again_now_and_then(scene, track, monkeypatch):
    monkeypatch.setattr("server.webrtc.tracks.HOLD_SPACING_S", 0.1)
    scene.push(range(5, 6), span=0.1)
    shown = await track.recv()
    scene.is_paused = True
    held = [await track.recv() for _ in range(2)]
    assert [value(frame) for frame in held] == [5, 5] and scene.was_shown == [5]
    scene.is_paused = False
    scene.push(range(7, 8), span=0.1)
    after = await track.recv()
    pts = [f.pts for f in (shown, *held, after)]
    assert value(after) == 7 and pts == sorted(set(pts))


@pytest.mark.parametrize("is_paused", [True, False])
async def test_who_comes_back_is_shown_at_once_what_was_on_show(scene, track, monkeypatch, is_paused):
    monkeypatch.setattr("server.webrtc.tracks.HOLD_SPACING_S", 0.01)
    scene.push(range(5, 6), span=0.1)
    before = await track.recv()
    track.stop()
    scene.is_paused = is_paused
    again = OutputTrack(scene, asyncio.get_running_loop().time)
    began = asyncio.get_running_loop().time()
    after = await again.recv()
    assert asyncio.get_running_loop().time() - began <= 2 * POLL_S
    assert value(after) == 5 and after.pts > before.pts and scene.was_shown == [5]


async def test_each_frame_is_announced_before_it_is_given_out(scene):
    announced = []
    track = OutputTrack(
        scene, asyncio.get_running_loop().time, before_encoding=lambda: announced.append(scene.was_shown[-1])
    )
    scene.push(range(3), span=0.1)
    for number in range(3):
        await track.recv()
        assert announced == list(range(number + 1))


async def test_a_stopped_track_raises(track):
    receiving = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await receiving


async def test_drain_keeps_video_frames_until_the_track_ends():
    track, kept = VideoStreamTrack(), []

    def keep(frame: VideoFrame) -> None:
        kept.append(frame)
        if len(kept) == 3:
            track.stop()

    await drain(track, keep)
    assert len(kept) == 3


async def test_drain_without_a_keeper_reads_to_the_end():
    class Silence(MediaStreamTrack):
        kind = "audio"
        read = 0

        async def recv(self):
            self.read += 1
            if self.read > 5:
                raise MediaStreamError
            return object()

    track = Silence()
    await drain(track)
    assert track.read == 6
