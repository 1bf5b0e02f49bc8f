"""Every command, from a client's words to the picture: the real session and worker with a fake engine."""

import asyncio
import json

import numpy as np
import pytest

import server.session.session
from server.engine.scheduler import Client
from server.media.images import KEPT_IMAGES
from server.media.recordings import Recordings
from server.metrics import Metrics
from server.session.session import LiveSession
from server.settings import load_settings
from streaming.api import CLEAR
from tests.server.running import until
from tests.server.stage import CAMERA_FPS, Stage, rgb

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
async def recordings(settings):
    recordings = Recordings(settings)
    yield recordings
    await recordings.close()


@pytest.fixture
async def stage(settings, worker, recordings, monkeypatch):
    monkeypatch.setattr(server.session.session, "TELEMETRY_PERIOD_S", 0.1)
    session = LiveSession("abc", settings, worker, Metrics(), recordings)
    stage = Stage(session)
    session.start()
    await stage.live()
    await until(lambda: session.picture is not None, "a picture")
    yield stage
    await stage.close()


def controls(engine) -> list:
    return [controls for _, controls in engine.steps]


async def test_weighted_prompts_and_their_blend_reach_the_model_and_are_told(stage, engine):
    prompts = [{"text": "gold", "weight": 3}, {"text": "ice", "weight": 1}]
    await stage.applied("prompt.set", "1", prompts=prompts, transition="blend", chunks=30, curve="linear")
    asked = next(c for c in controls(engine) if c.prompts is not None)
    assert asked.prompts == (("gold", 3), ("ice", 1))
    assert (asked.transition, asked.blend_chunks, asked.blend_curve) == ("blend", 30, "linear")
    await until(lambda: any(m["transition"] for m in stage.of("settings")), "the blend in the settings")
    told = [m for m in stage.of("settings") if m["transition"]][-1]
    assert told["transition"]["chunks"] == 30 and told["transition"]["done"] >= 1
    assert [p["text"] for p in told["prompts"]] == ["gold", "ice"]


async def test_a_switch_is_known_ahead_and_told_to_sessions_that_wait(stage, engine, worker):
    """The handler knows before the chunk is planned; who waits for the model is told once more amid it."""
    assert not stage.session.commands.is_recache_ahead
    await until(lambda: len(engine.steps) > 3, "chunks whose making tells how long a switch takes")
    told = []
    async with worker.scheduler.take(Client(lambda _: None)):
        stage.ask("prompt.set", "1", text="ice", transition="blend")
        assert not stage.session.commands.is_recache_ahead
        stage.ask("prompt.set", "2", text="gold")
        assert stage.session.commands.is_recache_ahead
        engine.may_ask.clear()
    await until(lambda: stage.session.is_busy, "its turn")

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
    await stage.until("applied", id="2")
    assert not stage.session.commands.is_recache_ahead


async def test_every_dial_reaches_the_model_and_the_settings(stage, engine):
    id = stage.session.images.add(np.full((20, 30, 3), 255, np.uint8))
    mask = stage.session.images.add(np.zeros((20, 30, 3), np.uint8))
    stage.ask("guidance.set", "1", scale=0.5, adaptive=0.25)
    stage.ask("depth.set", "2", smoothing=0.4, points=[{"x": 0.1, "y": 0.2, "value": 0.3}])
    stage.ask("references.set", "3", images=[id])
    stage.ask("mask.set", "4", image=mask)
    stage.ask("steps.set", "5", steps=[1000, 500])
    stage.ask("seed.set", "6", mode="fixed", seed=9)
    for number in range(1, 7):
        await stage.until("applied", id=str(number))
    asked = controls(engine)
    assert any(c.guidance_scale == 0.5 and c.adaptive == 0.25 for c in asked)
    assert any(c.depth and c.depth.points == ((0.1, 0.2, 0.3),) for c in asked)
    assert any(isinstance(c.references, tuple) and c.references[0].shape == (20, 30, 3) for c in asked)
    assert any(isinstance(c.mask, np.ndarray) and not c.mask.any() for c in asked)
    assert any(c.steps == (1000, 500) for c in asked)
    await until(lambda: stage.of("settings")[-1]["seed"]["seed"] == 9, "the settings")
    told = stage.of("settings")[-1]
    assert told["guidance"] == {"scale": 0.5, "adaptive": 0.25, "keyframes": None, "loop": False}
    assert (told["references"], told["mask"], told["steps"]) == ([id], mask, [1000, 500])
    assert told["depth"]["smoothing"] == 0.4 and told["depth"]["points"][0]["value"] == 0.3
    await stage.applied("mask.set", "7", image=None)
    await stage.applied("references.set", "8", images=[])
    assert [c.mask for c in controls(engine) if c.mask is not None][-1] is CLEAR
    assert [c.references for c in controls(engine) if c.references is not None][-1] is CLEAR


async def test_a_picture_that_is_not_there_is_named(stage):
    stage.ask("references.set", "1", images=["nothing"])
    error = await stage.until("error", id="1")
    assert (error["code"], error["field"], error["value"]) == ("invalid", "images[0]", "nothing")
    stage.ask("mask.set", "2", image="nothing")
    assert (await stage.until("error", id="2"))["field"] == "image"


async def test_a_reset_keeps_the_prompt(stage, engine):
    await stage.applied("prompt.set", "1", text="molten gold")
    applied = await stage.applied("reset", "2")
    assert applied["chunk"] == 0
    await until(lambda: rgb(stage.shown[-1])[1] == len("molten gold"), "the prompt")
    assert stage.session.commands.settings().prompts[0].text == "molten gold"
    reset = next(c for c in controls(engine) if c.reset)
    assert reset.prompts is None and reset.seed == 3


async def test_a_prompt_is_encoded_before_its_chunk(stage, engine):
    """Text off the stream's path: else every stream waits for it."""
    await stage.applied("prompt.set", "1", prompts=[{"text": "gold"}, {"text": "ice"}])
    assert engine.encoded == [("gold", "ice")]
    engine.may_ask.clear()  # a chunk is with the model, and nothing else gets there
    for number in range(2, 9):
        stage.ask("prompt.set", str(number), text=f"gold {number}")
    await asyncio.sleep(0.05)
    engine.may_ask.set()
    await stage.until("applied", id="8")
    assert engine.encoded[1:] == [("gold 2",)], (
        "what comes faster its chunk encodes, and of that the last alone"
    )


async def test_a_prompt_that_cannot_be_encoded_is_refused_by_its_chunk_alone(stage, engine):
    stage.ask("prompt.set", "1", text="reject")
    assert "not known" in (await stage.until("error", id="1", code="rejected"))["message"]
    assert engine.encoded == [("reject",)] and len(stage.of("error")) == 1
    await stage.applied("prompt.set", "2", text="clay")


async def test_a_timeline_paints_its_steps_in_time_and_stops(stage, engine):
    steps = [{"at": 0, "text": "one"}, {"at": 0.5, "text": "three"}]
    await stage.applied("timeline.set", "1", steps=steps, loop=True, duration=1.0)
    await until(lambda: [c.prompt for c in controls(engine)].count("one") > 1, "the second round")
    told = [c.prompt for c in controls(engine) if c.prompt]
    assert told[:3] == ["one", "three", "one"]
    assert engine.encoded[:2] == [("three",), ("one",)], "each step while the one before it is shown"
    assert stage.session.commands.settings().timeline is not None
    await until(lambda: stage.telemetry[-1]["timeline_position"] is not None, "the position")
    await stage.applied("timeline.stop", "2")
    assert stage.session.commands.settings().timeline is None
    count = len([c for c in controls(engine) if c.prompt])
    await asyncio.sleep(1.2)
    assert len([c for c in controls(engine) if c.prompt]) == count


async def test_a_timeline_whose_prompt_is_refused_plays_on(stage, engine):
    steps = [{"at": 0, "text": "one"}, {"at": 0.3, "text": "reject"}, {"at": 0.6, "text": "three"}]
    await stage.applied("timeline.set", "1", steps=steps)
    assert "not known" in (await stage.until("error", code="rejected"))["message"]
    await until(lambda: controls(engine)[-1].prompt == "three" or rgb(stage.shown[-1])[1] == 5, "the third")
    assert [c.prompt for c in controls(engine)].count("reject") == 1


async def test_keyframes_move_the_strength_chunk_by_chunk(stage, engine):
    keys = [{"at": 0, "scale": 0.0}, {"at": 1, "scale": 2.0}]
    await stage.applied("guidance.set", "1", keyframes=keys)
    await until(lambda: stage.telemetry[-1]["guidance_scale"] == 2.0, "the end")
    scales = [c.guidance_scale for c in controls(engine) if c.guidance_scale is not None]
    assert scales == sorted(scales) and scales[0] == 0.0 and len(set(scales)) > 4


async def test_a_pause_keeps_the_picture_and_asks_nothing_of_the_model(stage, engine):
    applied = await stage.applied("pause", "1")
    assert applied["command"] == "pause" and applied["frame"] is not None
    await until(lambda: stage.of("settings")[-1]["paused"], "the settings")
    steps, shown = len(engine.steps), stage.session.picture.frame
    await asyncio.sleep(2.5)  # longer than the model may be silent
    assert len(engine.steps) == steps and stage.session.picture.frame == shown
    assert stage.of("state")[-1]["state"] == "live"
    assert rgb(stage.shown[-1])[0] == shown % 256
    stage.messages.clear()
    applied = await stage.applied("resume", "2")
    assert applied["frame"] > shown and applied["latency_ms"] < 200
    await until(lambda: stage.of("settings") and not stage.of("settings")[-1]["paused"], "the settings")


async def test_law_what_was_filmed_in_a_pause_is_not_relived(stage):
    """The ring is full of it by then: the first chunk has the newest frames alone."""
    pictures = stage.pictures()
    await stage.applied("pause", "1")
    await asyncio.sleep(2)
    resumed = asyncio.get_running_loop().time()
    await stage.applied("resume", "2")
    await until(lambda: stage.session.picture.captured > resumed, "newer pictures")
    first = next(picture for picture in pictures if picture.made >= resumed)
    assert first.captured > resumed - 12 / CAMERA_FPS


async def test_pausing_twice_and_resuming_what_runs_is_answered(stage):
    await stage.applied("resume", "0")
    await stage.applied("pause", "1")
    await stage.applied("pause", "2")
    await stage.applied("resume", "3")
    assert not stage.session.is_paused


async def test_no_time_passes_for_a_timeline_during_a_pause(stage):
    await stage.applied("timeline.set", "1", steps=[{"at": 0, "text": "one"}])
    await stage.applied("pause", "2")
    before = stage.session.commands.settings().timeline.position
    await asyncio.sleep(0.5)
    assert stage.session.commands.settings().timeline.position == before


async def test_a_frozen_camera_stands_while_the_model_goes_on(stage, engine):
    await stage.applied("freeze.set", "1", on=True)
    camera = stage.session.camera
    await until(lambda: len({rgb(frame)[2] for frame in stage.shown[-6:]}) == 1, "one moment of the camera")
    first, held = len(engine.steps), rgb(stage.shown[-1])[2]
    await until(lambda: len(engine.steps) > first + 4, "chunks")
    assert stage.session.camera is camera
    assert {rgb(frame)[2] for frame in stage.shown[-6:]} == {held}
    assert len({rgb(frame)[0] for frame in stage.shown[-6:]}) == 6
    await stage.applied("freeze.set", "2", on=False)
    await until(lambda: len({rgb(frame)[2] for frame in stage.shown[-6:]}) > 1, "the camera")


async def test_latency_does_not_build_up(stage):
    """Over resets, cuts, freezes and pauses the age of the pictures shown stays what it was."""
    session, ages = stage.session, []
    shown = session.shown

    def watched(picture, pts, now):
        ages.append((asyncio.get_running_loop().time(), now - picture.captured))
        shown(picture, pts, now)

    session.shown = watched
    await until(lambda: len(ages) > 120, "pictures")
    usual = float(np.median([age for _, age in ages[60:]]))
    for number in range(5):
        await stage.applied("reset", f"r{number}")
        await stage.applied("prompt.set", f"c{number}", text="gold", transition="cut")
        await stage.applied("pause", f"p{number}")
        await asyncio.sleep(0.6)
        await stage.applied("resume", f"g{number}")
    ages.clear()
    await until(lambda: len(ages) > 120, "pictures")
    assert float(np.median([age for _, age in ages[60:]])) < usual + 0.02


async def test_after_a_reset_no_older_picture_is_shown(stage):
    shown = stage.pictures()
    applied = await stage.applied("reset", "1")
    at = [picture.frame for picture in shown].index(applied["frame"])
    await until(lambda: len(shown) > at + 20, "more pictures")
    assert all(picture.frame >= applied["frame"] for picture in shown[at:])
    assert shown[at].chunk == 0


async def test_a_command_sent_again_is_answered_again_and_done_once(stage, engine):
    first = await stage.applied("reset", "1", seed=5)
    stage.messages.clear()
    stage.ask("reset", "1", seed=5)
    assert [m["type"] for m in stage.messages] == ["ack", "applied"] and stage.messages[1] == first
    await asyncio.sleep(0.3)
    assert [c.reset for c in controls(engine)].count(True) == 1
    stage.ask("reset", "1", seed=6)
    assert stage.messages[-1]["field"] == "id" and stage.messages[-1]["code"] == "invalid"


async def test_the_output_is_limited(stage):
    applied = await stage.applied("output.set", "1", fps=10, quality="low")
    assert applied["command"] == "output.set"
    await stage.applied("output.set", "2", quality="medium")
    output = stage.session.commands.settings().output
    assert (output.fps, output.quality) == (10, "medium")
    await asyncio.sleep(3.5)
    assert 9 <= stage.telemetry[-1]["fps"] <= 11
    await stage.applied("output.set", "3", fps=None)
    assert stage.session.commands.settings().output.fps is None


async def test_a_recording_is_made_told_and_found(stage, recordings):
    await stage.applied("record.start", "1", side_by_side=True)
    assert (await stage.until("recording"))["state"] == "recording"
    stage.ask("record.start", "2")
    assert (await stage.until("error", id="2"))["code"] == "rejected"
    await until(lambda: stage.of("settings")[-1]["recording"], "the settings")
    await asyncio.sleep(1.0)
    await stage.applied("record.stop", "3")
    stopped = await stage.until("recording", state="stopped")
    assert stopped["seconds"] > 0.4 and stopped["bytes"] > 100
    assert (await recordings.find("abc", stopped["name"])).stat().st_size == stopped["bytes"]
    stage.ask("record.stop", "4")
    assert "nothing is being recorded" in (await stage.until("error", id="4"))["message"]


async def test_law_a_recording_runs_with_no_track_pulled_at_all(settings, worker, recordings):
    stage = Stage(LiveSession("def", settings, worker, Metrics(), recordings), is_watched=False)
    stage.session.start()
    await stage.live()
    await stage.applied("record.start", "1")
    first = stage.session.picture.frame
    await until(lambda: stage.session.picture.frame > first + 24, "pictures")
    await stage.applied("record.stop", "2")
    stopped = await stage.until("recording", state="stopped")
    assert stopped["seconds"] > 0.05 and await recordings.find("def", stopped["name"]) is not None
    await stage.close()


async def test_a_recording_ends_with_its_session_and_can_still_be_fetched(
    settings, worker, recordings, monkeypatch
):
    stage = Stage(LiveSession("def", settings, worker, Metrics(), recordings))
    stage.session.start()
    await stage.live()
    await stage.applied("record.start", "1")
    await asyncio.sleep(0.5)
    name = stage.of("recording")[0]["name"]
    await stage.close()
    assert await recordings.find("def", name) is not None


async def test_where_nothing_is_recorded_it_is_refused(settings, worker):
    stage = Stage(LiveSession("def", settings, worker, Metrics()))
    stage.session.start()
    stage.ask("record.start", "1")
    assert "keeps no recordings" in (await stage.until("error", id="1"))["message"]
    await stage.close()


async def test_who_asks_without_a_channel_gets_the_answers_and_others_the_news(stage):
    (ack,) = stage.session.ask(json.dumps({"type": "prompt.set", "id": "h1", "text": "gold"}))
    assert (ack.type, ack.id) == ("ack", "h1") and not stage.of("ack", id="h1")
    await stage.until("applied", id="h1")
    again = stage.session.ask(json.dumps({"type": "prompt.set", "id": "h1", "text": "gold"}))
    assert [answer.type for answer in again] == ["ack", "applied"]
    ack, applied = stage.session.ask(json.dumps({"type": "output.set", "id": "h2", "fps": 30}))
    assert (ack.type, applied.type) == ("ack", "applied") and stage.of("applied", id="h2")
    (error,) = stage.session.ask("nonsense")
    assert error.code == "invalid"
    ack, refused = stage.session.ask(json.dumps({"type": "record.stop", "id": "h3"}))
    assert (ack.type, refused.code) == ("ack", "rejected")


async def test_a_snapshot_is_the_picture_on_show_and_what_made_it(stage):
    await stage.applied("prompt.set", "1", text="molten gold", transition="cut")
    await stage.applied("guidance.set", "2", scale=0.5)
    picture, made_of = stage.session.snapshot()
    assert picture.shape[2] == 3 and picture[0, 0, 1] == len("molten gold")
    assert (made_of.prompts[0].text, made_of.guidance_scale, made_of.seed) == ("molten gold", 0.5, 3)
    assert made_of.steps == 4 and made_of.frame >= 9


async def test_a_snapshot_tells_of_the_picture_on_show_and_not_of_newer_ones(stage, engine):
    session = stage.session
    engine.step_seconds = 0.05  # so that pictures of one chunk wait while the next is made
    await until(lambda: len(session.pacer) > 2, "pictures that wait")
    stage.hold()
    shown = session.picture
    engine.may_ask.clear()
    await until(lambda: session.is_busy, "a chunk with the model")
    stage.ask("prompt.set", "1", text="molten gold", transition="blend")
    stage.ask("guidance.set", "2", scale=0.5)
    engine.may_ask.set()
    await until(lambda: session.commands.parameters.scale == 0.5, "a chunk made of that")
    for _ in range(2):
        picture, made_of = session.snapshot()
        assert picture is shown.rgb and (made_of.chunk, made_of.frame) == (shown.chunk, shown.frame)
        assert (made_of.prompts[0].text, made_of.guidance_scale) == ("clay", 1.0)
        await session.playout.publish()  # another one of the chunk before
        shown = session.picture


async def test_a_picture_that_the_model_works_with_is_kept_for_a_second_try(stage, engine):
    """However many are uploaded meanwhile; so is what waits, and what is in effect."""
    images = [np.full((20, 30, 3), value, np.uint8) for value in range(3)]
    in_effect, tried, waits = map(stage.session.images.add, images)
    await stage.applied("mask.set", "1", image=in_effect)
    engine.step_seconds = 1.0
    stage.ask("references.set", "2", images=[tried])
    stage.ask("prompt.set", "3", text="diverge")
    await until(lambda: any(c.references for c in controls(engine)), "the chunk that is to fail")
    stage.ask("references.set", "4", images=[waits])
    for _ in range(KEPT_IMAGES):
        stage.session.images.add(np.zeros((20, 30, 3), np.uint8))
    kept = [stage.session.images.get(id) is not None for id in (in_effect, tried, waits)]
    assert kept == [True, True, True]
    await stage.until("error", code="reset")
    await stage.until("applied", id="4")
    assert stage.of("superseded", id="2", by="4") and stage.session.failure is None


async def test_a_session_tells_how_it_stands(stage):
    view = stage.session.view()
    assert (view.id, view.state) == ("abc", "live")
    assert view.figures.chunks > 0 and view.settings.prompts[0].text == "clay"


async def test_a_client_that_joins_is_greeted_and_told_until_it_leaves(stage):
    heard = []
    leave = stage.session.join(lambda text: heard.append(json.loads(text)))
    assert [m["type"] for m in heard] == ["hello", "settings", "state"]
    await stage.applied("guidance.set", "1", scale=0.25)
    assert heard[-1] in stage.messages
    leave()
    count = len(heard)
    await stage.applied("guidance.set", "2", scale=0.5)
    assert len(heard) == count
