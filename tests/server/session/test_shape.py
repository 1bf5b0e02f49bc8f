"""A session whose picture is turned in mid-stream, with a fake engine: what of it has the picture's size."""

import json

import av
import numpy as np
import pytest

from server.journal.memory import MemoryJournal
from server.media.recording_store import RecordingStore
from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.session.session_record import SessionRecord
from server.settings import load_settings
from tests.server.fakes import HEIGHT, WIDTH, FakeEngineModule
from tests.server.running import started_worker, until
from tests.server.running_session import CAMERA_FPS, RunningSession

pytestmark = pytest.mark.virtual_time
WIDE, UPRIGHT = (WIDTH, HEIGHT), (HEIGHT, WIDTH)


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
async def running(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    session.start()
    yield running
    await running.close()


def shape(running: RunningSession) -> dict[str, object]:
    return running.of("settings")[-1]["shape"]


def sizes(running: RunningSession) -> list[tuple[int, int]]:
    return [(frame.width, frame.height) for frame in running.shown]


async def test_a_session_begins_as_the_model_was_loaded(running, engine):
    await running.live()
    assert shape(running) == {"orientation": "wide", "fit": "fill", "width": WIDTH, "height": HEIGHT}
    assert running.of("hello")[0]["model"]["can_turn"] is True
    assert all((asked.orientation, asked.fit) == (None, None) for _, asked in engine.steps)


async def test_law_a_turned_stream_begins_anew_and_shows_nothing_of_the_old_shape_after(running, engine):
    """It is announced as a reset is: applied names the first chunk of a new generation."""
    await running.live()
    pictures = running.pictures()
    await until(lambda: len(pictures) > 0, "a picture of the old shape")
    running.shown.clear()  # what was shown before the model was known may have been of any size
    generation = running.session.generation.result.generation
    applied = await running.applied("shape.set", "1", orientation="upright")
    assert applied["command"] == "shape.set" and applied["chunk"] == 0 and applied["frame"] > 0
    await until(lambda: [picture.chunk for picture in pictures].count(1) > 3, "a second chunk of it")
    shown = [picture.size for picture in pictures]
    assert shown == sorted(shown, reverse=True) and set(shown) == {WIDE, UPRIGHT}
    assert [picture.frame for picture in pictures] == sorted(picture.frame for picture in pictures)
    assert running.session.generation.result.generation == generation + 1
    (turned,) = [asked for _, asked in engine.steps if asked.orientation]
    assert turned.reset and turned.seed == 3, "the seed is that of any reset"
    await until(lambda: shape(running)["orientation"] == "upright", "the settings")
    assert (shape(running)["width"], shape(running)["height"]) == UPRIGHT
    await until(lambda: sizes(running)[-1] == UPRIGHT, "the same track, of another size")
    assert set(sizes(running)) <= {WIDE, UPRIGHT}


async def test_turned_back_it_is_what_it_was(running):
    await running.live()
    for number, orientation in enumerate(["upright", "wide", "upright", "wide"]):
        await running.applied("shape.set", str(number), orientation=orientation)
    await until(lambda: shape(running)["orientation"] == "wide", "the settings")
    assert running.session.picture.size == WIDE


async def test_the_shape_that_it_has_already_resets_nothing(running, engine):
    await running.live()
    applied = await running.applied("shape.set", "1", orientation="wide", fit="fit")
    assert applied["chunk"] > 0
    assert not any(asked.reset or asked.orientation for _, asked in engine.steps)
    assert [asked.fit for _, asked in engine.steps if asked.fit] == ["fit"]
    await until(lambda: shape(running)["fit"] == "fit", "the settings")


async def test_turned_twice_before_a_chunk_takes_it_only_the_last_counts(running, engine):
    await running.live()
    running.ask("shape.set", "1", orientation="upright")
    running.ask("shape.set", "2", orientation="wide")
    assert (await running.until("superseded", id="1"))["by"] == "2"
    await running.until("applied", id="2")
    assert not any(asked.orientation for _, asked in engine.steps)


async def test_a_model_that_cannot_turn_refuses_and_the_stream_goes_on(running, engine):
    await running.live()
    engine.can_turn = False
    running.ask("shape.set", "1", orientation="upright")
    error = await running.until("error", id="1")
    assert error["code"] == "rejected" and "orientation" in error["message"]
    await running.applied("guidance.set", "2", scale=0.5)
    assert running.session.picture.size == WIDE and shape(running)["orientation"] == "wide"


@pytest.mark.parametrize("fields", [{"orientation": "sideways"}, {"orientation": 90}, {"fit": "stretch"}])
async def test_a_bad_shape_is_named_with_what_was_expected(running, fields):
    await running.live()
    running.ask("shape.set", "1", **fields)
    error = await running.until("error", id="1")
    (field, value) = next(iter(fields.items()))
    assert (error["field"], error["value"]) == (field, str(value))
    assert error["expected"] in ('"wide" or "upright"', '"fill" or "fit"')


async def test_what_was_uploaded_is_fitted_anew_to_the_other_shape(running, engine):
    mask = running.session.images.add(np.zeros((20, 30, 3), np.uint8))
    reference = running.session.images.add(np.full((20, 30, 3), 9, np.uint8))
    await running.live()
    await running.applied("mask.set", "1", image=mask)
    await running.applied("references.set", "2", images=[reference])
    await running.applied("shape.set", "3", orientation="upright")
    (turned,) = [asked for _, asked in engine.steps if asked.orientation]
    assert not turned.mask.any() and [picture.max() for picture in turned.references] == [9]


async def test_a_lost_chunk_is_turned_after_all(running, engine):
    await running.live()
    running.ask("prompt.set", "1", text="diverge")
    running.ask("shape.set", "2", orientation="upright")
    await running.until("error", code="reset")
    await running.until("applied", id="2")
    assert running.session.picture.size == UPRIGHT


async def test_while_it_waits_the_camera_is_shown_in_the_streams_shape(running):
    await running.live()
    await running.applied("shape.set", "1", orientation="upright")
    running.shown.clear()
    running.session.playout.note = "waiting"
    running.session.playout.wake()
    await until(lambda: len(running.shown) > 2, "the camera")
    assert set(sizes(running)) == {UPRIGHT}


async def test_a_snapshot_tells_the_shape(running):
    await running.live()
    await running.applied("shape.set", "1", orientation="upright", fit="fit")
    rgb, parameters = running.session.snapshot()
    assert (rgb.shape[1], rgb.shape[0]) == UPRIGHT
    assert (parameters.orientation, parameters.fit) == ("upright", "fit")


async def test_a_session_that_goes_on_elsewhere_keeps_its_shape(settings, worker):
    """From a snapshot, and with a stream that has to begin anew."""
    journal = MemoryJournal()
    session = LiveSession("abc", Services(settings, worker, Metrics(), journal=journal))
    running = RunningSession(session)
    session.start()
    await running.live()
    await running.applied("shape.set", "1", orientation="upright", fit="fit")
    session.may_go_on_elsewhere = True
    await running.close()
    for refuses in (False, True):
        second = FakeEngineModule(refuses_snapshots=refuses)
        async with started_worker(settings, second) as other:
            await other.ready()
            record = SessionRecord.decode(await journal.get("abc") or b"")
            again = RunningSession(LiveSession("abc", Services(settings, other, Metrics()), record))
            again.session.may_go_on_elsewhere = True
            again.session.start()
            await again.live()
            await until(lambda again=again: again.session.picture is not None, "a picture")
            assert again.session.picture.size == UPRIGHT
            assert set(sizes(again)) <= {UPRIGHT}, "nor was anything before it of another shape"
            assert json.loads(json.dumps(shape(again)))["fit"] == "fit"
            is_told = [asked.orientation for _, asked in second.steps[:1]]
            assert is_told == (["upright"] if refuses else [None])
            await again.close()


@pytest.mark.parametrize("side_by_side", [False, True])
async def test_a_recording_goes_on_with_the_turned_picture_between_bars(
    settings, worker, tmp_path, side_by_side
):
    store = RecordingStore(settings.model_copy(update={"recordings_dir": tmp_path}))
    await store.open()
    session = LiveSession("abc", Services(settings, worker, Metrics(), recordings=store))
    running = RunningSession(session)
    session.start()
    await running.live()
    await running.applied("record.start", "1", side_by_side=side_by_side)
    await running.applied("shape.set", "2", orientation="upright")
    await until(lambda: session.picture.chunk > 1, "more of it")
    await running.applied("record.stop", "3")
    told = await running.until("recording", state="stopped")
    file = await store.find("abc", told["name"])
    with av.open(str(file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    across = 2 * WIDTH if side_by_side else WIDTH
    assert {frame.shape for frame in frames} == {(HEIGHT, across, 3)}
    assert frames[-1][:, :3].max() < 16 and frames[-1][:, -3:].max() < 16, "bars"
    assert frames[-1][HEIGHT // 2, across // 2].max() > 0
    await running.close()
    await store.close()
