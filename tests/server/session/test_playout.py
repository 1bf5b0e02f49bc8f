"""Which picture goes out when, by a clock that the test moves; the last tests let `run` keep the time."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from av import VideoFrame

from server.media.pacing import LATE_LIMIT_S
from server.session.broadcast import Subscription
from server.session.picture import Picture
from server.session.playout import HOLD_SPACING_S, NOTHING_YET, PASSTHROUGH_SPACING_S, Playout
from tests.server.pictures import CLAY, picture
from tests.server.running import PATIENCE_S, until

SIZE = (64, 48)
FAR_S = 1000 * PATIENCE_S  # later than any test waits


class Source:
    """The camera that a Playout shows, the clock it plays by, both set by hand, and what it has shown."""

    def __init__(self) -> None:
        self.now = 100.0
        self.newest: VideoFrame | None = None
        self.was_shown: list[int] = []
        self.pts_shown: list[int] = []

    def shown(self, picture: Picture, pts: int, now: float) -> None:
        self.was_shown.append(picture.frame)
        self.pts_shown.append(pts)


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
async def playout(source) -> Playout:
    playout = Playout(source, lambda: source.now, source.shown)
    playout.size = SIZE
    return playout


def pictures(values: range) -> list[Picture]:
    return [picture(value, frame=value) for value in values]


async def play(source: Source, playout: Playout, count: int = 1) -> list[float]:
    """Publish so many pictures, each when it is due; returns when."""
    times = []
    for _ in range(count):
        due = playout.due()
        assert due is not None
        source.now = max(source.now, due)
        await playout.publish()
        times.append(source.now)
    return times


async def taken(subscription: Subscription) -> tuple[int, int]:
    """The value of the picture that waits, and its pts. Fails if there is none."""
    async with asyncio.timeout(0):
        frame = await subscription.next()
    return int(frame.rgb[0, 0, 0]), frame.pts


async def nothing(subscription: Subscription) -> bool:
    try:
        await taken(subscription)
    except TimeoutError:
        return True
    return False


async def test_law_pictures_go_out_in_time_with_no_subscriber_at_all(source, playout):
    playout.pacer.push(pictures(range(10, 16)), 0.3, source.now)
    times = await play(source, playout, 6)
    assert source.was_shown == list(range(10, 16)) and playout.picture.frame == 15
    assert np.diff(times) == pytest.approx(np.full(5, 0.05), abs=0.01)
    assert np.diff(source.pts_shown) == pytest.approx(90_000 * np.diff(times), abs=2)
    assert playout.due() is None


async def test_law_a_picture_is_shown_once_and_sent_to_each_of_many_subscribers(source, playout):
    subscriptions = [playout.broadcast.subscribe() for _ in range(5)]
    playout.pacer.push(pictures(range(3)), 0.1, source.now)
    for number in range(3):
        await play(source, playout)
        sent = {await taken(subscription) for subscription in subscriptions}
        assert sent == {(number, source.pts_shown[-1])}
    assert source.was_shown == [0, 1, 2]


async def test_a_picture_that_is_late_keeps_its_pts_and_one_that_is_very_late_moves_the_timeline(
    source, playout
):
    playout.pacer.push(pictures(range(4)), 0.4, source.now)
    await play(source, playout)
    spacing = playout.pacer.spacing
    source.now = playout.due() + LATE_LIMIT_S / 2
    await play(source, playout)
    late_s = 10 * LATE_LIMIT_S
    source.now = playout.due() + late_s
    await play(source, playout)
    assert playout.due() >= source.now + spacing / 2, "no burst"
    assert np.diff(source.pts_shown) == pytest.approx(
        [90_000 * spacing, 90_000 * (spacing + late_s)], abs=0.1 * 90_000 * spacing
    )


async def test_the_camera_is_passed_through_while_there_is_a_note_and_somebody_watches(source, playout):
    playout.note = "warming"
    assert playout.due() is None, "nobody watches"
    subscription = playout.broadcast.subscribe()
    await play(source, playout)
    assert (await subscription.next()).rgb.shape == (*SIZE[::-1], 3)
    source.newest = VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8))
    began = source.now
    (at,) = await play(source, playout)
    assert at - began == pytest.approx(PASSTHROUGH_SPACING_S)
    grey, _ = await taken(subscription)
    assert abs(grey - 90) < 5 and source.was_shown == []
    subscription.close()
    assert playout.due() is None, "nobody watches any more"


async def test_the_camera_is_passed_through_in_the_shape_and_fit_of_the_picture_on_show(source, playout):
    subscription = playout.broadcast.subscribe()
    source.newest = VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8))
    turned = picture(rgb=np.zeros((64, 48, 3), np.uint8), parameters=replace(CLAY, fit="fit"))
    playout.pacer.push([turned], 0.1, source.now)
    await play(source, playout)
    playout.note = "waiting"
    await play(source, playout)
    passed = (await subscription.next()).rgb
    assert passed.shape == (64, 48, 3)
    assert not passed[0].any() and passed[32, 24].all(), "bars above the camera's picture"


async def test_the_camera_is_drawn_anew_only_when_it_has_changed(source, playout):
    playout.note = "warming"
    subscription, seen = playout.broadcast.subscribe(), []
    for note in ("warming", "warming", "failed"):
        playout.note = note
        await play(source, playout)
        seen.append((await subscription.next()).rgb)
    assert seen[0] is seen[1] and seen[1] is not seen[2]


async def test_while_there_is_a_note_no_picture_is_played(source, playout):
    playout.note = "waiting"
    playout.pacer.push(pictures(range(2)), 0.1, source.now)
    assert playout.due() is None
    subscription = playout.broadcast.subscribe()
    await play(source, playout, 2)
    assert source.was_shown == [] and len(playout.pacer) == 2
    playout.note = None
    passed = (await subscription.next()).pts
    await play(source, playout)
    assert source.was_shown == [0] and (await taken(subscription))[1] > passed


async def test_the_last_picture_comes_again_now_and_then_for_who_watches(source, playout):
    playout.pacer.push(pictures(range(5, 6)), 0.1, source.now)
    (shown_at,) = await play(source, playout)
    assert playout.due() is None, "nobody watches"
    subscription = playout.broadcast.subscribe()
    assert await nothing(subscription)
    times = await play(source, playout, 2)
    assert np.diff([shown_at, *times]) == pytest.approx(HOLD_SPACING_S)
    value, pts = await taken(subscription)
    assert value == 5 and pts == pytest.approx(source.pts_shown[0] + 2 * HOLD_SPACING_S * 90_000, abs=2)
    playout.pacer.push(pictures(range(7, 8)), 0.1, source.now)
    await play(source, playout)
    assert (await taken(subscription))[0] == 7 and source.was_shown == [5, 7]


async def test_who_begins_to_watch_long_after_the_last_picture_sees_it_at_once_with_the_time_of_now(
    source, playout
):
    playout.pacer.push(pictures(range(5, 6)), 0.1, source.now)
    await play(source, playout)
    source.now += 60
    subscription = playout.broadcast.subscribe()
    assert playout.due() <= source.now
    await play(source, playout)
    assert await taken(subscription) == (5, source.pts_shown[0] + 60 * 90_000)


async def test_what_was_swept_before_it_was_seen_leaves_the_camera_and_not_silence(
    source, playout, monkeypatch
):
    """A pause can come just then, and a page takes silence for a network that is blocked."""
    notes = []
    monkeypatch.setattr(
        "server.session.playout.with_note",
        lambda camera, size, note, fit: notes.append(note) or np.zeros((*size[::-1], 3), np.uint8),
    )
    subscription = playout.broadcast.subscribe()
    playout.pacer.push(pictures(range(2)), 0.1, source.now)
    playout.pacer.clear()
    await play(source, playout)
    assert not await nothing(subscription) and notes == [NOTHING_YET]


async def test_cleared_it_holds_no_picture_and_its_subscribers_end(source, playout):
    subscription = playout.broadcast.subscribe()
    playout.pacer.push(pictures(range(2)), 0.1, source.now)
    await play(source, playout)
    playout.clear()
    assert playout.picture is None and not len(playout.pacer) and playout.broadcast.is_over
    assert playout.due() is None and subscription not in playout.broadcast._subscriptions


# As the loop's clock runs. What must not wait is far off: a look-again now and then would come too late.


@pytest.fixture
async def running(source):
    playout = Playout(source, asyncio.get_running_loop().time, source.shown)
    task = asyncio.create_task(playout.run())
    yield playout
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_chunk_that_comes_wakes_it(source, running):
    now = asyncio.get_running_loop().time
    await asyncio.sleep(0)
    running.pacer.push(pictures(range(3)), 0.1, now())
    await until(lambda: source.was_shown == [0, 1, 2], "the chunk")


async def test_a_chunk_that_comes_before_it_was_expected_is_not_slept_through(source, running):
    now = asyncio.get_running_loop().time
    running.pacer.push(pictures(range(3)), 0.1, now())
    await until(lambda: bool(source.was_shown), "the first picture")
    running.pacer.expect(now() + FAR_S, now())
    await asyncio.sleep(0)
    running.pacer.push(pictures(range(3, 6)), 0.1, now())
    await until(lambda: source.was_shown == list(range(6)), "all pictures")


async def test_an_earlier_end_of_a_wait_is_not_slept_through(source, running):
    now = asyncio.get_running_loop().time
    running.pacer.push(pictures(range(3)), FAR_S, now())
    await until(lambda: bool(source.was_shown), "the first picture")
    running.pacer.clear()
    running.pacer.push(pictures(range(3, 6)), 0.1, now())
    await until(lambda: source.was_shown == [0, 3, 4, 5], "the next chunk")


async def test_who_begins_to_watch_and_a_new_note_wake_it(source, running):
    running.pacer.push(pictures(range(1)), 0.1, asyncio.get_running_loop().time())
    await until(lambda: bool(source.was_shown), "the picture")
    subscription = running.broadcast.subscribe()
    held = await asyncio.wait_for(subscription.next(), PATIENCE_S)
    assert held.rgb[0, 0, 0] == 0
    running.note = "the model is slower than usual"
    running.wake()
    await until(lambda: running._passed is not None, "the camera")
