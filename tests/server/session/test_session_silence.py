"""What a LiveSession says while it waits, pauses, has failed or is closed; the test is camera and screen."""

import asyncio
import json

import numpy as np
import pytest
from av import VideoFrame

import server.session.session
from server.media.coded_size import EXPECTED, SizeRejected
from server.metrics import Metrics
from server.services import Services
from server.session.session import INTERNAL_ERROR, SILENCE_S, LiveSession
from server.settings import load_settings
from tests.server.running import started_worker, until
from tests.server.running_session import CAMERA_FPS, RunningSession

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that a chunk takes a tenth of one."""
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
async def running(settings, worker, monkeypatch):
    monkeypatch.setattr(server.session.session, "SILENCE_S", 1.0)
    monkeypatch.setattr(server.session.session, "TELEMETRY_PERIOD_S", 0.1)
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    session.start()
    yield running
    await running.close()


async def test_a_model_that_is_slower_than_usual_is_told_and_so_is_its_return(running, engine):
    await running.live()
    engine.may_ask.clear()
    await running.until("state", state="waiting", detail="the model is slower than usual")
    assert running.session.playout.note == "the model is slower than usual"
    running.messages.clear()
    engine.may_ask.set()
    await running.live()
    assert running.session.playout.note is None


async def test_law_pictures_of_a_size_that_is_not_taken_are_told_once_with_size_and_limit(running, caplog):
    await running.live()
    running.camera_runs = False
    for _ in range(100):
        running.session.camera_rejected(SizeRejected((3440, 1440)))
        await asyncio.sleep(0.05)
    message = f"the camera's pictures are 3440x1440: expected {EXPECTED}"
    told = running.of("error")
    assert told == [
        {
            **{"type": "error", "id": None, "code": "rejected", "field": "camera", "value": "3440x1440"},
            **{"expected": EXPECTED, "message": message},
        }
    ]
    state = {"type": "state", "state": "waiting", "detail": message, "restarts": False}
    assert running.of("state")[-1] == state
    assert running.session.view().detail == message and caplog.text.count("3440x1440") == 1
    assert running.session.view().figures.dropped.camera >= 100
    running.messages.clear()
    running.camera_runs = True
    await running.live()
    running.camera_runs = False
    running.session.camera_rejected(SizeRejected((3440, 1440)))
    await running.until("error", value="3440x1440")


async def test_a_camera_that_changes_its_size_all_the_time_is_not_told_more_than_once_a_second(running):
    await running.live()
    for number in range(100):
        running.session.camera_rejected(SizeRejected((4000, 2000 + number)))
        await asyncio.sleep(0.05)
    assert 1 <= len(running.of("error")) <= 6


async def test_while_it_waits_for_its_first_pictures_it_says_for_what(settings, worker, engine, monkeypatch):
    monkeypatch.setattr(server.session.session, "TELEMETRY_PERIOD_S", 0.1)
    engine.may_ask.clear()
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    running.camera_runs = False
    session.start()
    await asyncio.sleep(2 * SILENCE_S)
    assert running.of("state")[-1]["detail"] == "waiting for pictures from the camera"
    assert session.snapshot() is None and session.view().state == "waiting"
    running.camera_runs = True
    await running.until("state", state="waiting", detail="generating the first pictures")
    running.ask("pause", "1")
    await running.until("state", state="waiting", detail="paused")
    running.ask("resume", "2")
    engine.may_ask.set()
    await running.live()
    await until(lambda: session.snapshot() is not None, "a picture")
    await running.close()


async def test_a_pause_is_no_silence_and_after_it_the_model_has_its_time(running, engine):
    await running.live()
    await running.applied("pause", "1")
    running.messages.clear()
    await asyncio.sleep(60)
    assert running.of("state") == []
    engine.may_ask.clear()
    running.ask("resume", "2")
    await asyncio.sleep(0.8)
    assert running.of("state") == [], "less than SILENCE_S since it went on"
    await running.until("state", state="waiting", detail="the model is slower than usual")
    engine.may_ask.set()
    await running.live()


async def test_who_joins_is_told_what_there_is_and_who_leaves_nothing_more(running):
    await running.live()
    told, telemetry = [], []
    leave = running.session.join(lambda text: told.append(json.loads(text)))
    stop = running.session.channels.attach_telemetry(lambda text: telemetry.append(json.loads(text)))
    assert [message["type"] for message in told] == ["hello", "settings", "state"]
    assert told[-1]["state"] == "live"
    running.ask(
        "timeline.set", "1", steps=[{"at": 0, "text": "a"}, {"at": 50, "text": "b"}], loop=True, duration=100
    )
    await running.until("applied", id="1")
    await until(lambda: bool(telemetry) and telemetry[-1]["timeline_position"] is not None, "where it is")
    assert telemetry[-1]["depth_preview"].startswith("data:image/jpeg;base64,")
    assert 0 <= telemetry[-1]["timeline_position"] < 50 and telemetry[-1]["guidance_scale"] == 1.0
    leave()
    stop()
    counts = len(told), len(telemetry)
    await running.applied("prompt.set", "2", text="gold")
    await asyncio.sleep(1)
    assert (len(told), len(telemetry)) == counts


async def test_a_stream_that_failed_says_why_to_all_and_takes_no_more(running):
    await running.live()
    running.ask("prompt.set", "1", text="explode")
    state = await running.until("state", state="failed")
    assert state["detail"] == running.session.failure == running.session.playout.note == INTERNAL_ERROR
    (error,) = running.of("error", code="internal")
    assert error["message"] == state["detail"]
    running.ask("prompt.set", "2", text="gold")
    assert (await running.until("error", id="2"))["message"] == state["detail"]


async def test_law_who_waits_for_a_camera_hears_that_the_model_is_gone(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session, is_watched=False)
    session.start()
    await running.until("state", state="waiting")
    worker.on_failed("the model is gone")
    assert running.of("state")[-1]["detail"] == session.failure == "the model is gone"
    await running.close()
    assert [each["message"] for each in running.of("error")] == ["the model is gone"]


async def test_it_hears_of_the_model_until_it_is_closed(settings, engine):
    engine.may_load.clear()
    async with started_worker(settings, engine) as worker:
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        running = RunningSession(session, is_watched=False)
        woken, session.playout.wake = [], lambda: woken.append("a new note is to be drawn")
        worker.on_loading("1 GB")
        assert running.of("state")[-1]["detail"] == "1 GB" and len(woken) == 1
        await running.close()
        worker.on_loading("2 GB")
        assert running.of("state")[-1]["detail"] == "1 GB"


async def test_law_every_drop_is_in_the_figures(running):
    await running.live()
    running.hold()
    await until(lambda: running.session.pacer.dropped > 0, "a chunk gives way")
    before = running.session.figures().dropped
    running.session.camera_frame(VideoFrame.from_ndarray(np.zeros((4000, 16, 3), np.uint8)))
    after = running.session.figures().dropped
    assert before.pacing == running.session.pacer.dropped > 0 and after.camera == before.camera + 1


async def test_a_short_gap_between_chunks_is_no_silence(running, engine):
    await running.live()
    await asyncio.sleep(10)
    running.messages.clear()
    engine.may_ask.clear()
    await until(lambda: not len(running.session.pacer), "nothing is left to show")
    await asyncio.sleep(0.7)
    assert running.of("state") == [], "less than SILENCE_S since the last picture"
    engine.may_ask.set()
    await running.applied("prompt.set", "1", text="gold")
    assert running.of("state") == []


async def test_of_a_slow_model_more_patience_is_had(running, engine):
    """Twice as long as its chunks take."""
    engine.step_seconds = 2.0
    await running.live()
    await asyncio.sleep(15)
    running.messages.clear()
    engine.may_ask.clear()
    await asyncio.sleep(engine.step_seconds)  # the chunk under way comes yet
    await until(lambda: not len(running.session.pacer), "nothing is left to show")
    await asyncio.sleep(1.5)
    assert running.session.pacer.interval == pytest.approx(2.0, abs=0.2) and running.of("state") == []
    await running.until("state", state="waiting", detail="the model is slower than usual")
    engine.may_ask.set()


async def test_the_time_until_a_peer_came_back_is_not_taken_for_the_pace_of_chunks(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    now = asyncio.get_running_loop().time
    for seconds in (0.5, 60.0, 0.0):
        session.pacer.push(["picture"] * 3, 0.1, now())  # no playout runs: they may be anything
        if seconds == 60.0:
            session.peer_changed()
        await asyncio.sleep(seconds)
    assert session.pacer.interval == pytest.approx(0.5)
    session.pacer.clear()
    await session.close()


async def test_closed_it_waits_for_no_prompt(settings, worker, monkeypatch):
    session, is_asked = LiveSession("abc", Services(settings, worker, Metrics())), asyncio.Event()

    async def never(texts) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(worker, "encode", never)
    session.receive('{"type": "prompt.set", "id": "1", "text": "gold"}')
    await is_asked.wait()
    await session.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
