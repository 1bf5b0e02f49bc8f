"""LiveSession with the real worker and a fake engine; the test is both camera and screen."""

import asyncio
import gc
import json
from itertools import pairwise
from statistics import median

import pytest

import server.session.session
from server.engine.scheduler import Client
from server.metrics import Metrics
from server.services import Services
from server.session.generation import MAX_FAILURES
from server.session.playout import PROVISIONAL_SIZE
from server.session.session import INTERNAL_ERROR, LiveSession
from server.settings import load_settings
from streaming.api import CameraStart, DistanceRegion
from tests.server.fakes import HEIGHT, WIDTH
from tests.server.running import started_worker, until
from tests.server.running_session import CAMERA_FPS, RunningSession, rgb

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


async def test_a_stream_becomes_live_and_says_so(running):
    await running.until("state", state="live")
    states = [m["state"] for m in running.of("state")]
    assert states == sorted(states, key=["warming", "waiting", "live"].index)
    hello = running.of("hello")[0]
    assert hello["session"] == "abc" and hello["prompt"] == "clay" and hello["guidance_scale"] == 1.0
    assert hello["model"]["name"] == "fake" and hello["model"]["trained"] is False
    assert running.messages.index(hello) < running.messages.index(running.of("state", state="waiting")[0])


@pytest.mark.parametrize("latency", ["standard", "lowest"])
async def test_a_stream_begins_with_the_latency_of_the_settings(settings, worker, engine, latency):
    session = LiveSession(
        "abc", Services(settings.model_copy(update={"latency": latency}), worker, Metrics())
    )
    running = RunningSession(session)
    session.start()
    await running.live()
    await until(lambda: len(engine.steps) > 1, "a second chunk")
    first, second = (asked for _, asked in engine.steps[:2])
    is_asked = latency != "standard"
    assert first.steps == ((1000,) if is_asked else None)
    assert first.camera_start == (CameraStart(0.6) if is_asked else None)
    assert (second.steps, second.camera_start, first.prompts) == (None, None, None), "once, and nothing else"
    assert running.of("settings")[-1]["latency"] == latency
    await running.close()


async def test_generated_pictures_have_the_models_size_and_rising_numbers(running):
    await running.until("state", state="live")
    running.shown.clear()
    await until(lambda: len(running.shown) > 30, "pictures")
    frames = running.shown[1:30]
    assert {(f.width, f.height) for f in frames} == {(WIDTH, HEIGHT)}
    numbers = [int(f.to_ndarray(format="rgb24")[0, 0, 0]) for f in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(b.pts > a.pts for a, b in zip(frames, frames[1:], strict=False))


async def test_only_one_chunk_is_with_the_worker_and_each_has_the_right_length(running, engine):
    await until(lambda: len(engine.steps) > 3, "steps")
    assert [count for count, _ in engine.steps[:4]] == [9, 12, 12, 12]


async def test_a_command_is_acked_then_applied_at_a_chunk_and_frame(running):
    await running.until("state", state="live")
    running.ask("prompt.set", "7", text="molten gold")
    await running.until("ack", id="7")
    applied = await running.until("applied", id="7")
    assert applied["command"] == "prompt.set"
    assert applied["frame"] == 9 + 12 * (applied["chunk"] - 1)
    assert applied["latency_ms"] > 0
    await until(lambda: rgb(running.shown[-1])[1] == len("molten gold"), "the prompt in the picture")
    running.messages.clear()
    running.session.join(lambda text: running.messages.append(json.loads(text)))
    assert running.of("hello")[0]["prompt"] == "molten gold"


async def test_commands_sent_before_the_first_chunk_are_applied_with_it(running):
    running.ask("guidance.set", "1", scale=0.25)
    applied = await running.until("applied", id="1")
    assert (applied["chunk"], applied["frame"]) == (0, 0)


async def test_what_is_asked_while_the_model_looks_at_a_chunk_is_not_a_chunk_late(running, engine):
    await running.until("state", state="live")
    engine.may_ask.clear()
    await until(lambda: running.session.planner.is_busy, "a chunk with the model")
    made = len(engine.steps)
    running.ask("prompt.set", "1", text="gold")
    await running.until("ack", id="1")
    engine.may_ask.set()
    await until(lambda: len(engine.steps) > made, "the chunk")
    assert engine.steps[made][1].prompt == "gold"


async def test_reset_starts_a_new_generation_and_drops_the_old_one(running, engine):
    """What waits to be shown gives way to the new generation's first pictures, and is counted."""
    session = running.session
    await running.until("state", state="live")
    running.hold()
    engine.may_ask.clear()
    await until(
        lambda: session.planner.is_busy and len(session.pacer), "pictures that wait, a chunk with the model"
    )
    running.ask("reset", "1", seed=5)
    waiting = len(session.pacer)
    engine.may_ask.set()
    await until(lambda: session.figures().dropped.stale > 0, "they give way")
    running.release()
    applied = await running.until("applied", id="1")
    assert applied["chunk"] == 0 and applied["frame"] > 0
    running.ask("stats", "2")
    stats = await running.until("stats", id="2")
    assert 0 < waiting == stats["dropped"]["stale"]
    assert stats["chunks"] >= 2 and stats["state"] == "live"
    assert stats["camera_frames"] >= 9 + 12 and stats["shown_frames"] > 0


async def test_pictures_of_an_older_generation_are_dropped(running):
    await running.until("state", state="live")
    running.ask("prompt.set", "1", text="stale")  # the fake engine answers it with a generation that is over
    await running.until("applied", id="1")  # with the chunk after
    running.ask("stats", "2")
    assert (await running.until("stats", id="2"))["dropped"]["stale"] == 12


async def test_law_a_stream_slows_down_and_does_not_stop_when_others_come(running, worker, engine):
    """Two more take turns as long as its own: chunks come after three times the time, all of a sudden."""
    turn_s = engine.step_seconds = 0.3

    async def other():
        while True:
            async with worker.scheduler.take(Client(lambda _: None)):
                await asyncio.sleep(turn_s)

    await until(lambda: len(engine.steps) > 4, "chunks one after the other")
    before, steps = len(running.shown), len(engine.steps)
    others = [asyncio.create_task(other()) for _ in range(2)]
    await until(lambda: len(engine.steps) > steps + 3, "chunks among others'")
    for task in others:
        task.cancel()
    pts = [frame.pts for frame in running.shown[before:]]
    gaps = [(after - earlier) / 90_000 for earlier, after in pairwise(pts)]
    assert max(gaps) < 1.2 * 3 * turn_s / 12
    assert median(gaps) > 0.9 * 3 * turn_s / 12


async def test_law_sessions_unlike_each_other_do_not_run_dry(running, worker, engine):
    """Another one's turns are much longer than its own, and go on being so."""
    own_s, others_s = 0.1, 0.5
    engine.step_seconds = own_s
    seat = Client(lambda _: None)

    async def other():
        while True:
            async with worker.scheduler.take(seat):
                await asyncio.sleep(others_s)

    task = asyncio.create_task(other())
    await until(lambda: len(engine.steps) > 5, "chunks among the other's")
    before, steps = len(running.shown), len(engine.steps)
    await until(lambda: len(engine.steps) > steps + 3, "more of them")
    task.cancel()
    pts = [frame.pts for frame in running.shown[before:]]
    assert max(after - earlier for earlier, after in pairwise(pts)) / 90_000 < 1.2 * (own_s + others_s) / 12


async def test_law_pictures_last_until_a_chunk_under_a_new_prompt_is_there(running, engine):
    engine.step_seconds = engine.recache_seconds = 0.3
    await until(lambda: len(engine.steps) > 4, "chunks one after the other")
    for id, least in (("1", "the first tells how long a switch takes"), ("2", "the second")):
        steps, before = len(engine.steps), len(running.shown)
        await until(lambda: len(engine.steps) > steps, "a chunk that has begun")  # noqa: B023 -- at once
        running.ask("prompt.set", id, text=least)
        await running.until("applied", id=id)
    pts = [frame.pts for frame in running.shown[before:]]
    longest = max(after - earlier for earlier, after in pairwise(pts)) / 90_000
    assert longest < 1.2 * (engine.step_seconds + engine.recache_seconds) / 12


@pytest.mark.parametrize("transition", ["cut", "recache"])
async def test_a_switch_sweeps_what_waits_to_be_shown(settings, worker, monkeypatch, transition):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    monkeypatch.setattr(session.pacer, "due", lambda: None)  # nothing is shown
    running = RunningSession(session, is_watched=False)
    session.start()
    await until(lambda: len(session.pacer) > 12, "pictures that wait")
    running.ask("prompt.set", "1", text="gold", transition=transition)
    await until(lambda: len(session.pacer) <= 12, "the first pictures after the switch")
    picture, _ = session.pacer.pop(0.0)
    assert picture.rgb[0, 0, 1] == len("gold") and (picture.chunk == 0) == (transition == "cut")
    await running.close()


async def test_law_commands_are_applied_with_no_track_pulled_at_all(settings, worker):
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session, is_watched=False)
    session.start()
    await running.live()
    applied = await running.applied("prompt.set", "1", text="gold")
    assert applied["frame"] > 0 and not session.playout.broadcast.is_watched
    await until(lambda: session.picture.rgb[0, 0, 1] == len("gold"), "the prompt in the picture on show")
    assert session.snapshot() is not None and session.figures().fps > 0
    await running.close()


async def test_law_a_command_is_applied_once_and_each_picture_counted_once_with_many_subscribers(running):
    session, played = running.session, []
    shown = session.playout.on_shown
    session.playout.on_shown = lambda picture, pts, now: (
        played.append(picture.frame),
        shown(picture, pts, now),
    )
    others = [RunningSession(session) for _ in range(3)]  # clients and subscribers alike
    await running.live()
    await running.applied("prompt.set", "1", text="gold")
    count = len(played)
    await until(lambda: len(played) > count + 24, "more pictures")
    assert played == list(range(played[0], played[0] + len(played)))
    for one in (running, *others):
        assert len(one.of("applied", id="1")) == 1
    for other in others:
        other.camera_runs = False
    for other in others:
        await other.close()


async def test_what_a_slow_subscriber_does_not_take_is_counted(settings, worker):
    metrics = Metrics()
    session = LiveSession("abc", Services(settings, worker, metrics))
    running = RunningSession(session, is_watched=False)
    session.playout.broadcast.subscribe()
    session.start()
    await running.live()
    counted = b'depthlive_dropped_frames_total{place="output"} '
    await until(lambda: counted in metrics.render(), "its count")
    await until(lambda: float(metrics.render().partition(counted)[2].split()[0]) > 12, "pictures not taken")
    await running.close()


async def test_a_playout_that_breaks_ends_the_stream_and_those_who_watch(running, caplog, monkeypatch):
    await running.until("state", state="live")

    def broken(*_: object) -> None:
        raise RuntimeError("no more pictures")

    monkeypatch.setattr(running.session.playout, "on_shown", broken)
    failed = await running.until("state", state="failed")
    assert failed["detail"] == INTERNAL_ERROR and "no more pictures" in caplog.text
    assert running.session.playout.broadcast.is_over
    assert "A task of this session failed" in caplog.text


async def test_a_rejected_prompt_is_answered_and_the_stream_goes_on(running):
    await running.until("state", state="live")
    running.ask("prompt.set", "1", text="reject")
    error = await running.until("error", id="1")
    assert error["code"] == "rejected" and "not known" in error["message"]
    running.ask("prompt.set", "2", text="gold")
    await running.until("applied", id="2")


async def test_a_diverged_chunk_is_told_and_its_commands_are_applied_after_all(running, engine):
    await running.until("state", state="live")
    running.ask("prompt.set", "1", text="diverge")
    error = await running.until("error", code="reset")
    assert error["id"] is None and "NaN" in error["message"]
    applied = await running.until("applied", id="1")
    assert applied["chunk"] == 0
    assert [controls.prompt for _, controls in engine.steps].count("diverge") == 2


async def test_a_chunk_that_breaks_off_has_done_what_it_was_asked_for(running, engine):
    """Its first pictures have been shown: who asked is told once, and the stream goes on with that."""
    await running.until("state", state="live")
    running.ask("prompt.set", "a", text="break off")
    await running.until("applied", id="a")
    error = await running.until("error", code="reset")
    assert "NaN" in error["message"]
    steps = len(engine.steps)
    await until(lambda: len(engine.steps) > steps + 2, "more chunks")
    await until(lambda: running.session.picture.chunk > 0, "pictures of them")
    assert len(running.of("applied", id="a")) == 1
    assert running.session.commands.parameters.prompts[0].text == "break off"


async def test_a_stream_whose_chunks_always_break_off_is_given_up(running):
    await running.until("state", state="live")
    running.ask("prompt.set", "a", text="always break off")
    state = await running.until("state", state="failed")
    assert "gave up" in state["detail"]


async def test_what_a_chunk_did_before_it_broke_off_is_not_done_again(running, engine, monkeypatch):
    """None of its pictures has been shown: a random reset would come twice, with another seed."""
    await running.until("state", state="live")
    monkeypatch.setattr(running.session.pacer, "due", lambda: None)  # nothing is shown from here on
    made = len(engine.steps)
    running.ask("prompt.set", "a", text="break off")
    await running.until("error", code="reset")
    await until(lambda: len(engine.steps) > made + 4, "more chunks")
    assert [controls.prompt for _, controls in engine.steps[made:]].count("break off") == 1


async def test_a_pause_between_two_pieces_is_told_when_the_chunk_has_ended(running, engine):
    await running.until("state", state="live")
    engine.may_go_on.clear()
    await until(lambda: running.session.planner.is_busy, "a chunk with the model")
    await asyncio.sleep(0.1)
    running.ask("pause", "p")
    await running.until("ack", id="p")
    assert not running.of("applied", id="p")
    engine.may_go_on.set()
    await running.until("applied", id="p")
    await asyncio.sleep(0.1)
    assert not len(running.session.pacer)


async def test_a_chunk_whose_beginning_came_in_a_pause_is_dropped_as_a_whole(running, engine, monkeypatch):
    await running.until("state", state="live")
    engine.may_ask.clear()
    await until(lambda: running.session.planner.is_busy, "a chunk with the model")
    made, played = len(engine.steps), []
    engine.may_go_on.clear()
    running.ask("pause", "p")
    engine.may_ask.set()
    await until(lambda: len(engine.steps) > made, "the chunk")
    await asyncio.sleep(0.05)
    monkeypatch.setattr(running.session.pacer, "extend", lambda pictures, now: played.append(pictures))
    running.ask("resume", "r")
    await running.until("ack", id="r")
    engine.may_go_on.set()
    await until(lambda: not running.session.planner.is_busy, "its end")
    assert not played
    await until(lambda: len(played) > 1, "later chunks")


async def test_a_closed_session_holds_no_pictures(running):
    """It may stay for good itself: what is there when the model gets ready is never searched for garbage."""
    await running.until("state", state="live")
    running.camera_runs = False
    await running.session.close()
    session = running.session
    assert session.feed.newest is None and session.picture is None and not len(session.pacer)
    assert session.feed._assembler.held == 0 and session.generation.result is None


async def test_pieces_of_a_session_that_has_ended_go_nowhere(running, engine, monkeypatch):
    await running.until("state", state="live")
    engine.may_ask.clear()
    await until(lambda: running.session.planner.is_busy, "a chunk with the model")
    await asyncio.sleep(0.05)
    close = asyncio.create_task(running.session.close())
    await until(lambda: not running.session.planner.is_busy, "the end")
    came, steps = [], len(engine.steps)
    monkeypatch.setattr(running.session.pacer, "push", lambda *given, **_: came.append(given))
    engine.may_ask.set()
    await close
    await until(lambda: len(engine.steps) > steps, "the chunk")
    await asyncio.sleep(0.1)
    assert not came


async def test_an_unexpected_error_ends_the_stream_and_its_words_are_for_the_log(running, caplog):
    await running.until("state", state="live")
    running.ask("prompt.set", "1", text="explode")
    failed = await running.until("state", state="failed")
    assert failed["detail"] == running.session.playout.note == INTERNAL_ERROR
    assert "out of memory" in caplog.text
    running.ask("prompt.set", "2", text="gold")
    assert (await running.until("error", id="2"))["code"] == "rejected"
    running.shown.clear()
    await until(lambda: len(running.shown) > 2, "the camera, passed through")
    assert "A task of this session failed" in caplog.text


async def test_a_chunk_that_always_fails_is_given_up(running, engine, monkeypatch):
    monkeypatch.setattr("tests.server.fakes.LiveStream._fail_if_asked", _always_fails)
    failed = await running.until("state", state="failed")
    assert "5 chunks in a row" in failed["detail"]


def _always_fails(self, prompt):
    raise ValueError("no")


async def test_only_failures_in_a_row_are_counted(running, monkeypatch):
    """A bad chunk every now and then, all evening, is no reason to give up."""
    tries = 0

    def fails(self, prompt):
        nonlocal tries
        tries += 1
        if tries % MAX_FAILURES:
            raise ValueError("no")

    monkeypatch.setattr("tests.server.fakes.LiveStream._fail_if_asked", fails)
    await until(lambda: tries > 4 * MAX_FAILURES, "good chunks between bad ones")
    assert running.session.failure is None
    assert len(running.of("error", code="rejected")) >= 4 * (MAX_FAILURES - 1)


async def test_law_who_comes_back_sees_nothing_from_before(settings, worker, engine):
    """Neither what was queued nor what was filmed while nobody watched; what is dropped is counted."""
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session, is_watched=False)
    running.hold()
    session.start()
    await until(lambda: len(session.pacer) > 12, "pictures that nobody takes")
    engine.may_flush.clear()  # the next chunk has no frames yet
    await asyncio.sleep(2)
    waiting, came_back = len(session.pacer), asyncio.get_running_loop().time()
    session.peer_changed()
    assert (len(session.pacer), session.figures().dropped.stale) == (0, waiting)
    engine.may_flush.set()
    await until(lambda: len(session.pacer) > 0, "new pictures")
    picture, _ = session.pacer.pop(0.0)
    assert picture.captured > came_back - 12 / CAMERA_FPS
    await running.close()


async def test_two_sessions_have_one_chunk_between_them_with_the_worker(
    running, settings, worker, engine, monkeypatch
):
    """Who waits for the worker has not chosen its frames yet, so that it takes the newest."""
    engine.step_seconds = 0.05
    step, at_once, most = worker.step, 0, 0

    async def counted(*arguments):
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        try:
            return await step(*arguments)
        finally:
            at_once -= 1

    monkeypatch.setattr(worker, "step", counted)
    other = RunningSession(LiveSession("def", Services(settings, worker, Metrics())))
    other.session.start()
    await running.until("state", state="live")
    await other.until("state", state="live")
    await asyncio.sleep(0.4)
    await other.close()
    assert most == 1


async def test_frames_are_chosen_when_the_chunk_before_is_finished(settings, worker, engine, monkeypatch):
    """Chosen before, they would grow old while the model remembers it."""
    session, taken = LiveSession("abc", Services(settings, worker, Metrics())), 0
    take = session.feed.take

    def counted(*arguments):
        nonlocal taken
        taken += 1
        return take(*arguments)

    monkeypatch.setattr(session.feed, "take", counted)
    running = RunningSession(session)
    session.start()
    await running.until("state", state="live")
    engine.may_flush.clear()
    await asyncio.sleep(4 * 12 / CAMERA_FPS)
    assert session.feed.is_ready(12)
    assert taken == len(engine.steps), "a chunk was taken that nobody paints"
    engine.may_flush.set()
    before = taken
    await until(lambda: taken > before, "the next chunk")
    await running.close()


async def test_a_silent_camera_is_told_and_its_return_makes_the_stream_live_again(running):
    await running.until("state", state="live")
    running.messages.clear()
    running.camera_runs = False
    await running.until("state", state="waiting", detail="waiting for pictures from the camera")
    assert "camera" in running.session.playout.note
    running.messages.clear()
    running.camera_runs = True
    await running.until("state", state="live")


async def test_telemetry_has_every_figure(running):
    await running.until("state", state="live")
    await until(lambda: bool(running.telemetry) and running.telemetry[-1]["fps"] > 0, "telemetry")
    last = running.telemetry[-1]
    assert set(last) == {
        *("type", "fps", "chunk", "latency_ms", "dropped", "state"),
        *("guidance_scale", "noise_scale", "timeline_position"),
        *("depth_preview", "gray_preview", "lines_preview"),
    }
    assert all(value is not None for value in last["latency_ms"].values())
    assert last["latency_ms"]["generate"] == 3.0
    assert last["latency_ms"]["total"] > last["latency_ms"]["pace"]


async def test_the_preview_of_a_control_is_sent_while_it_is_on(running):
    await running.until("state", state="live")
    await until(lambda: bool(running.telemetry) and running.telemetry[-1]["depth_preview"], "depth")
    assert running.telemetry[-1]["gray_preview"] is running.telemetry[-1]["lines_preview"] is None
    await running.applied("controls.set", "1", gray=0.5, lines=2)
    await until(lambda: running.telemetry[-1]["lines_preview"] is not None, "the previews")
    names = ("depth_preview", "gray_preview", "lines_preview")
    told = [running.telemetry[-1][name] for name in names]
    assert all(url.startswith("data:image/jpeg;base64,") for url in told) and len(set(told)) == 3
    await running.applied("controls.set", "2", gray=0)
    await until(lambda: running.telemetry[-1]["gray_preview"] is None, "gray off")
    assert running.telemetry[-1]["lines_preview"] == told[2]


async def test_the_cameras_share_is_asked_of_the_engine_and_told(running, engine):
    await running.until("state", state="live")
    await running.applied("camera_start.set", "1", noise_scale=0.6)
    await until(lambda: bool(running.telemetry) and running.telemetry[-1]["noise_scale"] == 0.6, "the scale")
    await running.applied("region.set", "2", distance=0.4, side="far")
    settings = running.session.view().settings
    assert settings.camera_start.model_dump() == {"noise_scale": 0.6, "follows_motion": False}
    assert settings.region is not None
    assert settings.region.model_dump() == {"distance": 0.4, "side": "far", "softness": 0.1}
    asked = [controls for _, controls in engine.steps]
    assert [start for chunk in asked if (start := chunk.camera_start)] == [CameraStart(0.6)]
    assert [region for chunk in asked if (region := chunk.distance_region)] == [DistanceRegion(0.4, "far")]


async def test_a_session_begins_with_the_models_controls_and_changes_what_was_asked_before(settings, engine):
    engine.controls = (("depth", 0.5), ("gray", 1.5))
    engine.may_warm_up.clear()
    async with started_worker(settings, engine) as worker:
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        running = RunningSession(session)
        session.start()
        await running.until("state", state="warming", detail="warming up the model")
        running.ask("controls.set", "1", lines=0.25)
        engine.may_warm_up.set()
        hello = await running.until("hello")
        assert (hello["guidance_scale"], hello["controls"]) == (0.5, {"gray": 1.5, "lines": 0.0})
        assert running.of("settings")[-1]["controls"] == hello["controls"]
        await running.until("applied", id="1")
        assert engine.steps[0][1].controls == (("lines", 0.25),), "the rest is the model's own"
        assert session.view().settings.controls.model_dump() == {"gray": 1.5, "lines": 0.25}
        await running.applied("reset", "2")
        assert session.view().settings.controls.model_dump() == {"gray": 1.5, "lines": 0.25}
        await running.close()


async def test_while_the_model_loads_the_session_says_so(settings, engine):
    engine.may_warm_up.clear()
    async with started_worker(settings, engine) as worker:
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        running = RunningSession(session)
        session.start()
        await running.until("state", state="warming", detail="warming up the model")
        assert not running.of("hello") and session.playout.note == "warming up the model"
        await until(lambda: bool(running.shown), "a picture")
        assert (running.shown[0].width, running.shown[0].height) == PROVISIONAL_SIZE
        engine.may_warm_up.set()
        await running.until("hello")
        await running.until("state", state="live")
        await running.close()


async def test_a_model_that_does_not_load_fails_the_session(settings, engine):
    engine.load_error = ValueError("no such preset")
    async with started_worker(settings, engine) as worker:
        session = LiveSession("abc", Services(settings, worker, Metrics()))
        running = RunningSession(session)
        session.start()
        detail = (await running.until("state", state="failed"))["detail"]
        assert "see the server's log" in detail and "no such preset" not in detail
        await running.close()


async def test_a_default_prompt_that_the_model_rejects_is_told(engine, worker):
    session = LiveSession("abc", Services(load_settings({"prompt": "reject"}), worker, Metrics()))
    running = RunningSession(session)
    session.start()
    assert "not known" in (await running.until("state", state="failed"))["detail"]
    await running.close()


async def test_a_stream_that_cannot_be_opened_is_told(engine, worker, caplog):
    session = LiveSession("abc", Services(load_settings({"prompt": "explode"}), worker, Metrics()))
    running = RunningSession(session)
    session.start()
    assert (await running.until("state", state="failed"))["detail"] == INTERNAL_ERROR
    assert "out of memory" in caplog.text
    assert "A task of this session failed" in caplog.text
    await running.close()


async def test_closing_frees_the_stream_even_during_a_chunk(settings, worker, engine):
    engine.step_seconds = 0.1
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    session.start()
    await until(lambda: bool(engine.steps), "a step")
    await running.close()
    await running.close()
    handle = await worker.open(prompt="next", seed=0)
    del session, running
    gc.collect()
    assert list(engine.streams) == [handle.stream]
    async with asyncio.timeout(1), worker.scheduler.take(Client(lambda _: None)):
        pass


async def test_closing_while_the_stream_is_being_opened_leaves_none(settings, worker, engine):
    engine.may_open.clear()
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    session.start()
    await until(lambda: engine.opening, "the thread to be at it")
    await session.close()
    engine.may_open.set()
    await until(lambda: engine.freed_in == ["engine"], "the stream is freed where it was made")
