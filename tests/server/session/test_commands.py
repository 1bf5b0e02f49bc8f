"""Every command, from a client's words to the picture: the real session and worker with a fake engine."""

import asyncio
import json
from unittest.mock import AsyncMock

import numpy as np
import pytest

import server.session.session
from server.engine.scheduler import Client
from server.media.images import KEPT_IMAGES
from server.media.recording_store import RecordingStore
from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.settings import load_settings
from streaming.api import CLEAR, CameraStart
from tests.server.running import until
from tests.server.running_session import CAMERA_FPS, RunningSession, rgb

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
async def recordings(settings):
    recordings = RecordingStore(settings)
    yield recordings
    await recordings.close()


@pytest.fixture
async def running(settings, worker, recordings, monkeypatch):
    monkeypatch.setattr(server.session.session, "TELEMETRY_PERIOD_S", 0.1)
    session = LiveSession("abc", Services(settings, worker, Metrics(), recordings))
    running = RunningSession(session)
    session.start()
    await running.live()
    await until(lambda: session.picture is not None, "a picture")
    yield running
    await running.close()


def controls(engine) -> list:
    return [controls for _, controls in engine.steps]


def is_recache_ahead(session: LiveSession) -> bool:
    return session.planner.recached_next(session.generation.time()) is not None


async def test_weighted_prompts_and_their_blend_reach_the_model_and_are_told(running, engine):
    prompts = [{"text": "gold", "weight": 3}, {"text": "ice", "weight": 1}]
    await running.applied("prompt.set", "1", prompts=prompts, transition="blend", chunks=30, curve="linear")
    asked = next(c for c in controls(engine) if c.prompts is not None)
    assert asked.prompts == (("gold", 3), ("ice", 1))
    assert (asked.transition, asked.blend_chunks, asked.blend_curve) == ("blend", 30, "linear")
    await until(lambda: any(m["transition"] for m in running.of("settings")), "the blend in the settings")
    told = [m for m in running.of("settings") if m["transition"]][-1]
    assert told["transition"]["chunks"] == 30 and told["transition"]["done"] >= 1
    assert [p["text"] for p in told["prompts"]] == ["gold", "ice"]


async def test_a_switch_is_known_ahead_and_told_to_sessions_that_wait(running, engine, worker, monkeypatch):
    """The handler knows before the chunk is planned; who waits for the model is told once more amid it."""
    monkeypatch.setattr(worker, "recache_ahead", AsyncMock(return_value=False))  # the device is never free
    assert not is_recache_ahead(running.session)
    await until(lambda: len(engine.steps) > 3, "chunks whose making tells how long a switch takes")
    told = []
    async with worker.scheduler.take(Client(lambda _: None)):
        running.ask("prompt.set", "1", text="ice", transition="blend")
        assert not is_recache_ahead(running.session)
        running.ask("prompt.set", "2", text="gold")
        assert is_recache_ahead(running.session)
        engine.may_ask.clear()
    await until(lambda: running.session.planner.is_busy, "its turn")

    async def other():
        async with worker.scheduler.take(Client(told.append)):
            pass

    waiting = asyncio.create_task(other())
    await until(lambda: bool(told), "its place in the line")
    before = len(told)
    engine.may_ask.set()
    await waiting
    await asyncio.sleep(0)
    assert (before, len(told), told[-1]) == (1, 3, 0.0)
    await running.until("applied", id="2")
    assert not is_recache_ahead(running.session)


async def test_a_latency_is_applied_and_told_as_what_it_sets(running, engine):
    applied = await running.applied("latency.set", "1", level="lowest")
    assert applied["command"] == "latency.set"
    await until(lambda: running.of("settings")[-1]["latency"] == "lowest", "the settings")
    told = running.of("settings")[-1]
    assert (told["steps"], told["camera_start"]["noise_scale"]) == ([1000], 0.6)
    assert any(c.steps == (1000,) and c.camera_start == CameraStart(0.6) for c in controls(engine))
    await running.applied("steps.set", "2", steps=None)
    await until(lambda: running.of("settings")[-1]["latency"] is None, "it is not the lowest any more")


async def test_every_dial_reaches_the_model_and_the_settings(running, engine):
    id = running.session.images.add(np.full((20, 30, 3), 255, np.uint8))
    mask = running.session.images.add(np.zeros((20, 30, 3), np.uint8))
    running.ask("guidance.set", "1", scale=0.5, adaptive=0.25)
    running.ask("depth.set", "2", smoothing=0.4, points=[{"x": 0.1, "y": 0.2, "value": 0.3}])
    running.ask("references.set", "3", images=[id])
    running.ask("mask.set", "4", image=mask)
    running.ask("steps.set", "5", steps=[1000, 500])
    running.ask("seed.set", "6", mode="fixed", seed=9)
    running.ask("controls.set", "10", gray=1.5)
    for number in (*range(1, 7), 10):
        await running.until("applied", id=str(number))
    asked = controls(engine)
    assert any(c.guidance_scale == 0.5 and c.adaptive == 0.25 for c in asked)
    assert any(c.depth and c.depth.points == ((0.1, 0.2, 0.3),) for c in asked)
    assert any(isinstance(c.references, tuple) and c.references[0].shape == (20, 30, 3) for c in asked)
    assert any(isinstance(c.mask, np.ndarray) and not c.mask.any() for c in asked)
    assert any(c.steps == (1000, 500) for c in asked)
    assert any(c.controls == (("gray", 1.5),) for c in asked)
    await until(lambda: running.of("settings")[-1]["seed"]["seed"] == 9, "the settings")
    told = running.of("settings")[-1]
    assert told["guidance"] == {"scale": 0.5, "adaptive": 0.25, "keyframes": None, "loop": False}
    assert told["controls"] == {"gray": 1.5, "lines": 0.0}
    assert (told["references"], told["mask"], told["steps"]) == ([id], mask, [1000, 500])
    assert told["depth"]["smoothing"] == 0.4 and told["depth"]["points"][0]["value"] == 0.3
    await running.applied("mask.set", "7", image=None)
    await running.applied("references.set", "8", images=[])
    assert [c.mask for c in controls(engine) if c.mask is not None][-1] is CLEAR
    assert [c.references for c in controls(engine) if c.references is not None][-1] is CLEAR


async def test_a_picture_that_is_not_there_is_named(running):
    running.ask("references.set", "1", images=["nothing"])
    error = await running.until("error", id="1")
    assert (error["code"], error["field"], error["value"]) == ("invalid", "images[0]", "nothing")
    running.ask("mask.set", "2", image="nothing")
    assert (await running.until("error", id="2"))["field"] == "image"


async def test_a_reset_keeps_the_prompt(running, engine):
    await running.applied("prompt.set", "1", text="molten gold")
    applied = await running.applied("reset", "2")
    assert applied["chunk"] == 0
    await until(lambda: rgb(running.shown[-1])[1] == len("molten gold"), "the prompt")
    assert running.session.commands.settings().prompts[0].text == "molten gold"
    reset = next(c for c in controls(engine) if c.reset)
    assert reset.prompts is None and reset.seed == 3


async def test_a_prompt_is_encoded_before_its_chunk(running, engine):
    """Text off the stream's path: else every stream waits for it."""
    await running.applied("prompt.set", "1", prompts=[{"text": "gold"}, {"text": "ice"}])
    assert engine.encoded == [("gold", "ice")]
    engine.may_ask.clear()  # a chunk is with the model, and nothing else gets there
    for number in range(2, 9):
        running.ask("prompt.set", str(number), text=f"gold {number}")
    await asyncio.sleep(0.05)
    engine.may_ask.set()
    await running.until("applied", id="8")
    assert engine.encoded[1:] == [("gold 2",)], (
        "what comes faster its chunk encodes, and of that the last alone"
    )


async def test_a_prompt_that_cannot_be_encoded_is_refused_by_its_chunk_alone(running, engine):
    running.ask("prompt.set", "1", text="reject")
    assert "not known" in (await running.until("error", id="1", code="rejected"))["message"]
    assert engine.encoded == [("reject",)] and len(running.of("error")) == 1
    await running.applied("prompt.set", "2", text="clay")


async def test_a_timeline_paints_its_steps_in_time_and_stops(running, engine):
    steps = [{"at": 0, "text": "one"}, {"at": 0.5, "text": "three"}]
    await running.applied("timeline.set", "1", steps=steps, loop=True, duration=1.0)
    await until(lambda: [c.prompt for c in controls(engine)].count("one") > 1, "the second round")
    told = [c.prompt for c in controls(engine) if c.prompt]
    assert told[:3] == ["one", "three", "one"]
    assert engine.encoded[:2] == [("three",), ("one",)], "each step while the one before it is shown"
    assert running.session.commands.settings().timeline is not None
    await until(lambda: running.telemetry[-1]["timeline_position"] is not None, "the position")
    await running.applied("timeline.stop", "2")
    assert running.session.commands.settings().timeline is None
    count = len([c for c in controls(engine) if c.prompt])
    await asyncio.sleep(1.2)
    assert len([c for c in controls(engine) if c.prompt]) == count


async def test_a_timeline_whose_prompt_is_refused_plays_on(running, engine):
    steps = [{"at": 0, "text": "one"}, {"at": 0.3, "text": "reject"}, {"at": 0.6, "text": "three"}]
    await running.applied("timeline.set", "1", steps=steps)
    assert "not known" in (await running.until("error", code="rejected"))["message"]
    await until(lambda: controls(engine)[-1].prompt == "three" or rgb(running.shown[-1])[1] == 5, "the third")
    assert [c.prompt for c in controls(engine)].count("reject") == 1


async def test_keyframes_move_the_strength_chunk_by_chunk(running, engine):
    keys = [{"at": 0, "scale": 0.0}, {"at": 1, "scale": 2.0}]
    await running.applied("guidance.set", "1", keyframes=keys)
    await until(lambda: running.telemetry[-1]["guidance_scale"] == 2.0, "the end")
    scales = [c.guidance_scale for c in controls(engine) if c.guidance_scale is not None]
    assert scales == sorted(scales) and scales[0] == 0.0 and len(set(scales)) > 4


async def test_a_pause_keeps_the_picture_and_asks_nothing_of_the_model(running, engine):
    applied = await running.applied("pause", "1")
    assert applied["command"] == "pause" and applied["frame"] is not None
    await until(lambda: running.of("settings")[-1]["paused"], "the settings")
    steps, shown = len(engine.steps), running.session.picture.frame
    await asyncio.sleep(2.5)  # longer than the model may be silent
    assert len(engine.steps) == steps and running.session.picture.frame == shown
    assert running.of("state")[-1]["state"] == "live"
    assert rgb(running.shown[-1])[0] == shown % 256
    running.messages.clear()
    applied = await running.applied("resume", "2")
    assert applied["frame"] > shown and applied["latency_ms"] < 200
    await until(lambda: running.of("settings") and not running.of("settings")[-1]["paused"], "the settings")


async def test_law_what_was_filmed_in_a_pause_is_not_relived(running):
    """The ring is full of it by then: the first chunk has the newest frames alone."""
    pictures = running.pictures()
    await running.applied("pause", "1")
    await asyncio.sleep(2)
    resumed = asyncio.get_running_loop().time()
    await running.applied("resume", "2")
    await until(lambda: running.session.picture.captured > resumed, "newer pictures")
    first = next(picture for picture in pictures if picture.made >= resumed)
    assert first.captured > resumed - 12 / CAMERA_FPS


async def test_pausing_twice_and_resuming_what_runs_is_answered(running):
    await running.applied("resume", "0")
    await running.applied("pause", "1")
    await running.applied("pause", "2")
    await running.applied("resume", "3")
    assert not running.session.generation.is_paused


async def test_no_time_passes_for_a_timeline_during_a_pause(running):
    await running.applied("timeline.set", "1", steps=[{"at": 0, "text": "one"}])
    await running.applied("pause", "2")
    before = running.session.commands.settings().timeline.position
    await asyncio.sleep(0.5)
    assert running.session.commands.settings().timeline.position == before


async def test_a_frozen_camera_stands_while_the_model_goes_on(running, engine):
    await running.applied("freeze.set", "1", on=True)
    camera = running.session.feed.newest
    await until(lambda: len({rgb(frame)[2] for frame in running.shown[-6:]}) == 1, "one moment of the camera")
    first, held = len(engine.steps), rgb(running.shown[-1])[2]
    await until(lambda: len(engine.steps) > first + 4, "chunks")
    assert running.session.feed.newest is camera
    assert {rgb(frame)[2] for frame in running.shown[-6:]} == {held}
    assert len({rgb(frame)[0] for frame in running.shown[-6:]}) == 6
    await running.applied("freeze.set", "2", on=False)
    await until(lambda: len({rgb(frame)[2] for frame in running.shown[-6:]}) > 1, "the camera")


async def test_latency_does_not_build_up(running):
    """Over resets, cuts, freezes and pauses the age of the pictures shown stays what it was."""
    session, ages = running.session, []
    shown = session.playout.on_shown

    def watched(picture, pts, now):
        ages.append((asyncio.get_running_loop().time(), now - picture.captured))
        shown(picture, pts, now)

    session.playout.on_shown = watched
    await until(lambda: len(ages) > 120, "pictures")
    usual = float(np.median([age for _, age in ages[60:]]))
    for number in range(5):
        await running.applied("reset", f"r{number}")
        await running.applied("prompt.set", f"c{number}", text="gold", transition="cut")
        await running.applied("pause", f"p{number}")
        await asyncio.sleep(0.6)
        await running.applied("resume", f"g{number}")
    ages.clear()
    await until(lambda: len(ages) > 120, "pictures")
    assert float(np.median([age for _, age in ages[60:]])) < usual + 0.02


async def test_after_a_reset_no_older_picture_is_shown(running):
    shown = running.pictures()
    applied = await running.applied("reset", "1")
    at = [picture.frame for picture in shown].index(applied["frame"])
    await until(lambda: len(shown) > at + 20, "more pictures")
    assert all(picture.frame >= applied["frame"] for picture in shown[at:])
    assert shown[at].chunk == 0


async def test_a_command_sent_again_is_answered_again_and_done_once(running, engine):
    first = await running.applied("reset", "1", seed=5)
    running.messages.clear()
    running.ask("reset", "1", seed=5)
    assert [m["type"] for m in running.messages] == ["ack", "applied"] and running.messages[1] == first
    await asyncio.sleep(0.3)
    assert [c.reset for c in controls(engine)].count(True) == 1
    running.ask("reset", "1", seed=6)
    assert running.messages[-1]["field"] == "id" and running.messages[-1]["code"] == "invalid"


async def test_the_output_is_limited(running):
    applied = await running.applied("output.set", "1", fps=10, quality="low")
    assert applied["command"] == "output.set"
    await running.applied("output.set", "2", quality="medium")
    output = running.session.commands.settings().output
    assert (output.fps, output.quality) == (10, "medium")
    await asyncio.sleep(3.5)
    assert 9 <= running.telemetry[-1]["fps"] <= 11
    await running.applied("output.set", "3", fps=None)
    assert running.session.commands.settings().output.fps is None


async def test_a_recording_is_made_told_and_found(running, recordings):
    await running.applied("record.start", "1", side_by_side=True)
    assert (await running.until("recording"))["state"] == "recording"
    running.ask("record.start", "2")
    assert (await running.until("error", id="2"))["code"] == "rejected"
    await until(lambda: running.of("settings")[-1]["recording"], "the settings")
    await asyncio.sleep(1.0)
    await running.applied("record.stop", "3")
    stopped = await running.until("recording", state="stopped")
    assert stopped["seconds"] > 0.4 and stopped["bytes"] > 100
    assert (await recordings.find("abc", stopped["name"])).stat().st_size == stopped["bytes"]
    running.ask("record.stop", "4")
    assert "nothing is being recorded" in (await running.until("error", id="4"))["message"]


async def test_law_a_recording_runs_with_no_track_pulled_at_all(settings, worker, recordings):
    running = RunningSession(
        LiveSession("def", Services(settings, worker, Metrics(), recordings)), is_watched=False
    )
    running.session.start()
    await running.live()
    await running.applied("record.start", "1")
    first = running.session.picture.frame
    await until(lambda: running.session.picture.frame > first + 24, "pictures")
    await running.applied("record.stop", "2")
    stopped = await running.until("recording", state="stopped")
    assert stopped["seconds"] > 0.05 and await recordings.find("def", stopped["name"]) is not None
    await running.close()


async def test_a_recording_ends_with_its_session_and_can_still_be_fetched(
    settings, worker, recordings, monkeypatch
):
    running = RunningSession(LiveSession("def", Services(settings, worker, Metrics(), recordings)))
    running.session.start()
    await running.live()
    await running.applied("record.start", "1")
    await asyncio.sleep(0.5)
    name = running.of("recording")[0]["name"]
    await running.close()
    assert await recordings.find("def", name) is not None


async def test_where_nothing_is_recorded_it_is_refused(settings, worker):
    running = RunningSession(LiveSession("def", Services(settings, worker, Metrics())))
    running.session.start()
    running.ask("record.start", "1")
    assert "keeps no recordings" in (await running.until("error", id="1"))["message"]
    await running.close()


async def test_who_asks_without_a_channel_gets_the_answers_and_others_the_news(running):
    (ack,) = running.session.ask(json.dumps({"type": "prompt.set", "id": "h1", "text": "gold"}))
    assert (ack.type, ack.id) == ("ack", "h1") and not running.of("ack", id="h1")
    await running.until("applied", id="h1")
    again = running.session.ask(json.dumps({"type": "prompt.set", "id": "h1", "text": "gold"}))
    assert [answer.type for answer in again] == ["ack", "applied"]
    ack, applied = running.session.ask(json.dumps({"type": "output.set", "id": "h2", "fps": 30}))
    assert (ack.type, applied.type) == ("ack", "applied") and running.of("applied", id="h2")
    (error,) = running.session.ask("nonsense")
    assert error.code == "invalid"
    ack, refused = running.session.ask(json.dumps({"type": "record.stop", "id": "h3"}))
    assert (ack.type, refused.code) == ("ack", "rejected")


async def test_a_snapshot_is_the_picture_on_show_and_what_made_it(running):
    await running.applied("prompt.set", "1", text="molten gold", transition="cut")
    await running.applied("guidance.set", "2", scale=0.5)
    picture, made_of = running.session.snapshot()
    assert picture.shape[2] == 3 and picture[0, 0, 1] == len("molten gold")
    assert (made_of.prompts[0].text, made_of.guidance_scale, made_of.seed) == ("molten gold", 0.5, 3)
    assert made_of.steps == 4 and made_of.frame >= 9


async def test_a_snapshot_tells_of_the_picture_on_show_and_not_of_newer_ones(running, engine):
    session = running.session
    engine.step_seconds = 0.05  # so that pictures of one chunk wait while the next is made
    await until(lambda: len(session.pacer) > 2, "pictures that wait")
    running.hold()
    shown = session.picture
    engine.may_ask.clear()
    await until(lambda: session.planner.is_busy, "a chunk with the model")
    running.ask("prompt.set", "1", text="molten gold", transition="blend")
    running.ask("guidance.set", "2", scale=0.5)
    engine.may_ask.set()
    await until(lambda: session.commands.parameters.scale == 0.5, "a chunk made of that")
    for _ in range(2):
        picture, made_of = session.snapshot()
        assert picture is shown.rgb and (made_of.chunk, made_of.frame) == (shown.chunk, shown.frame)
        assert (made_of.prompts[0].text, made_of.guidance_scale) == ("clay", 1.0)
        await session.playout.publish()  # another one of the chunk before
        shown = session.picture


async def test_a_picture_that_the_model_works_with_is_kept_for_a_second_try(running, engine):
    """However many are uploaded meanwhile; so is what waits, and what is in effect."""
    images = [np.full((20, 30, 3), value, np.uint8) for value in range(3)]
    in_effect, tried, waits = map(running.session.images.add, images)
    await running.applied("mask.set", "1", image=in_effect)
    engine.step_seconds = 1.0
    running.ask("references.set", "2", images=[tried])
    running.ask("prompt.set", "3", text="diverge")
    await until(lambda: any(c.references for c in controls(engine)), "the chunk that is to fail")
    running.ask("references.set", "4", images=[waits])
    for _ in range(KEPT_IMAGES):
        running.session.images.add(np.zeros((20, 30, 3), np.uint8))
    kept = [running.session.images.get(id) is not None for id in (in_effect, tried, waits)]
    assert kept == [True, True, True]
    await running.until("error", code="reset")
    await running.until("applied", id="4")
    assert running.of("superseded", id="2", by="4") and running.session.failure is None


async def test_a_session_tells_how_it_stands(running):
    view = running.session.view()
    assert (view.id, view.state) == ("abc", "live")
    assert view.figures.chunks > 0 and view.settings.prompts[0].text == "clay"


async def test_a_client_that_joins_is_greeted_and_told_until_it_leaves(running):
    heard = []
    leave = running.session.join(lambda text: heard.append(json.loads(text)))
    assert [m["type"] for m in heard] == ["hello", "settings", "state"]
    await running.applied("guidance.set", "1", scale=0.25)
    assert heard[-1] in running.messages
    leave()
    count = len(heard)
    await running.applied("guidance.set", "2", scale=0.5)
    assert len(heard) == count
