import asyncio
import atexit
import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from server.engine.chunk_job import ChunkJob, LatestWins
from server.engine.client import EngineClient, Phase, model_info
from server.engine.errors import EngineUnavailable, InputRejected, StreamWasReset
from server.engine.scheduler import Client
from server.engine.thread import SWITCH_INTERVAL_S, import_engine
from server.settings import load_settings
from streaming.api import CLEAR, ChunkParameters, DepthSettings
from tests import garbage
from tests.server.fakes import StreamSnapshot
from tests.server.running import PATIENCE_S, started_worker, until


def grey(frames: Sequence[int]) -> list[np.ndarray]:
    return [np.full((48, 64, 3), frame, np.uint8) for frame in frames]


def asking(count: int, asked: ChunkParameters, on_frames=lambda piece: None, to_rgb=grey) -> ChunkJob:
    """Of frames that are called 0, 1 and so on."""
    return ChunkJob(range(count), to_rgb, LatestWins(asked), on_taken=lambda: None, on_frames=on_frames)


def request(count: int, prompt: str | None = None) -> ChunkJob:
    return asking(count, ChunkParameters(prompts=prompt and ((prompt, 1.0),)))


async def test_model_is_loaded_with_the_settings_and_described(worker, engine, settings):
    info = await worker.ready()
    engine.loaded_with.pop("on_progress")
    wanted = {
        "model": "embedded",
        "depth": "auto",
        "speed": "exact",
        "decoder": "auto",
        "device": "auto",
        "gpus": 1,
        "precision": "auto",
        "controls": ("depth", "gray", "lines"),
        "scribble": None,
        "size": None,
        "random_weights": False,
        "cache_dir": None,
        "seed": 3,
    }
    assert engine.loaded_with.pop("sessions") == settings.max_sessions
    assert engine.loaded_with == wanted
    assert model_info(info).name == "fake"
    assert "untrained" in worker.readiness.reason


async def test_streams_may_use_the_controls_of_the_settings(engine):
    async with started_worker(load_settings({"controls": ["depth"]}), engine) as worker:
        await worker.ready()
    assert engine.loaded_with["controls"] == ("depth",)


async def test_pictures_have_the_size_of_the_settings(engine):
    async with started_worker(load_settings({"size": "480x832"}), engine) as worker:
        await worker.ready()
    assert engine.loaded_with["size"] == (480, 832)


async def test_the_network_that_draws_lines_is_the_one_of_the_settings(engine):
    settings = load_settings({"scribble": "scribble.pth"})
    async with started_worker(settings, engine) as worker:
        await worker.ready()
    assert engine.loaded_with["scribble"] == Path("scribble.pth")


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """As in a process of the server: tests/conftest.py freezes what collection made."""
    garbage.thaw()
    yield
    gc.collect()
    garbage.freeze()


async def test_the_garbage_collector_leaves_out_what_a_start_made(
    settings, engine, nothing_frozen, monkeypatch
):
    """And pauses meanwhile; a worker that has stopped leaves it as it was, but for the end of the process."""
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    engine.may_load.clear()
    async with started_worker(settings, engine) as worker:
        await until(lambda: engine.loaded_with, "the engine to be asked for")
        made = engine.loaded_with
        assert not gc.isenabled() and any(thing is made for thing in gc.get_objects())
        engine.may_load.set()
        await worker.ready()
        assert gc.isenabled() and not any(thing is made for thing in gc.get_objects())
    assert gc.get_freeze_count() == 0
    assert at_exit == [gc.freeze]


async def test_what_another_has_frozen_stays_so(settings, engine):
    theirs = [engine]
    gc.freeze()
    async with started_worker(settings, engine) as worker:
        await worker.ready()
    assert not any(thing is theirs for thing in gc.get_objects())


async def test_readiness_goes_through_its_phases_with_a_reason(settings, engine):
    engine.may_load.clear()
    engine.may_warm_up.clear()
    worker = EngineClient(settings, import_engine=lambda: engine)
    seen = []
    worker.subscribe(lambda: seen.append(worker.readiness.phase))
    assert worker.readiness.phase is Phase.LOADING
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(_unready_step(worker), PATIENCE_S)
    worker.start()
    engine.may_load.set()
    await until(lambda: seen == [Phase.WARMING], "warming")
    assert worker.info is None
    engine.may_warm_up.set()
    await worker.ready()
    await worker.stop()
    assert seen == [Phase.WARMING, Phase.READY, Phase.STOPPED]


async def _unready_step(worker):
    await worker.step(None, request(9))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("/srv/secret/config.json: bad"), "cannot load the model, see the server's log"),
        (FileNotFoundError(2, "none", "/srv/secret"), "cannot load the model, see the server's log"),
        (KeyError("oops"), "loading the model failed: internal error, see the log"),
    ],
)
async def test_a_model_that_does_not_load_says_why_in_the_log_alone(settings, engine, error, told, caplog):
    engine.load_error = error
    worker = EngineClient(settings.model_copy(update={"model": "/srv/secret"}), import_engine=lambda: engine)
    assert "/srv" not in worker.readiness.reason
    worker.start()
    with pytest.raises(EngineUnavailable, match=told[:20]):
        await worker.ready()
    assert (worker.readiness.phase, worker.readiness.reason) == (Phase.FAILED, told)
    await worker.stop()
    is_a_bug = isinstance(error, KeyError)
    assert ("Traceback" in caplog.text) is is_a_bug and str(error) in caplog.text


async def test_progress_of_a_download_is_told_while_loading(settings, engine):
    engine.may_load.clear()
    worker = EngineClient(settings, import_engine=lambda: engine)
    reasons = []
    worker.subscribe(lambda: reasons.append(worker.readiness.reason))
    worker.start()
    await until(lambda: engine.loaded_with, "the engine to be asked for")
    step = {"file": "umt5", "stage": "download", "all_done": 31, "all_total": 67}
    engine.loaded_with["on_progress"](SimpleNamespace(describe=lambda: "umt5: 3.1 of 6.7 GB", **step))
    await until(lambda: reasons == ["umt5: 3.1 of 6.7 GB"], "the progress")
    assert worker.readiness.phase is Phase.LOADING
    engine.may_load.set()
    await worker.ready()
    await worker.stop()


async def test_progress_is_told_to_clients_step_by_step_and_to_the_log_now_and_then(
    settings, engine, caplog, monkeypatch
):
    caplog.set_level("INFO")
    engine.may_load.clear()
    async with started_worker(settings, engine) as worker:
        reasons = []
        worker.subscribe(lambda: reasons.append(worker.readiness.reason))
        await until(lambda: engine.loaded_with, "the engine to be asked for")
        step = {"file": "umt5", "stage": "download", "all_done": 1, "all_total": 2}
        for number, period in enumerate((1e9, 1e9, 0.0)):
            monkeypatch.setattr("server.engine.thread.PROGRESS_LOG_PERIOD_S", period)
            engine.loaded_with["on_progress"](
                SimpleNamespace(describe=lambda number=number: f"{number} GB", **step)
            )
        await until(lambda: len(reasons) == 3, "all progress")
        assert reasons == ["0 GB", "1 GB", "2 GB"]
        assert [text for text in caplog.messages if "GB" in text] == ["Model: 0 GB", "Model: 2 GB"]
        worker.on_warming()
        worker.on_loading("3 GB")
        assert worker.readiness.phase is Phase.WARMING and reasons[-1] == "warming up the model"


async def test_who_has_unsubscribed_hears_nothing_more(settings, engine):
    worker, told = EngineClient(settings, import_engine=lambda: engine), []
    unsubscribe = worker.subscribe(lambda: told.append("gone"))
    worker.subscribe(lambda: told.append("here"))
    unsubscribe()
    unsubscribe()
    worker.on_warming()
    assert told == ["here"]


async def test_what_the_thread_tells_after_the_end_changes_nothing(settings, engine):
    worker = EngineClient(settings, import_engine=lambda: engine)
    await worker.stop()
    worker.on_failed("out of memory")
    worker.on_loading("1 GB")
    assert worker.readiness.phase is Phase.STOPPED
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await worker.ready()


@pytest.mark.parametrize(("cores", "threads"), [(8, "7"), (2, "1"), (1, "1"), (None, "1")])
def test_the_model_leaves_the_codecs_a_core_and_the_interpreter(monkeypatch, cores, threads):
    monkeypatch.setitem(sys.modules, "streaming.engine", SimpleNamespace(StreamEngine="the engine"))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    interval = sys.getswitchinterval()
    try:
        for given, wanted in ((None, (threads, "passive")), ("3", ("3", "3"))):
            for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
                monkeypatch.delenv(name, raising=False)
                if given is not None:
                    monkeypatch.setenv(name, given)
            assert import_engine() == "the engine"
            assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == wanted
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(interval)


async def test_step_gives_pictures_and_the_next_chunks_length(worker):
    await worker.ready()
    handle = await worker.open(prompt="clay", seed=0)
    assert handle.frames_wanted == 9
    first = await worker.step(handle, request(9))
    assert (len(first.frames), first.chunk, first.first_frame) == (9, 0, 0)
    assert first.frames_wanted == 12
    second = await worker.step(handle, request(12))
    assert (len(second.frames), second.chunk, second.first_frame) == (12, 1, 9)


async def test_what_is_asked_reaches_the_engine_as_it_is(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    picture = np.full((4, 6, 3), 200, np.uint8)
    change = ChunkParameters(
        prompts=(("gold", 0.75), ("clay", 0.25)),
        transition="blend",
        blend_chunks=6,
        blend_curve="linear",
        guidance_scale=0.5,
        adaptive=0.25,
        depth=DepthSettings(smoothing=0.5, refinement=0.1, points=((0.1, 0.2, 0.3),)),
        references=(picture,),
        mask=picture,
        steps=CLEAR,
        reset=True,
        seed=4,
    )
    await worker.step(handle, asking(9, change))
    _, asked = engine.steps[0]
    assert [getattr(asked, each.name) for each in fields(change)] == [
        getattr(change, each.name) for each in fields(change)
    ]
    assert asked.references[0] is asked.mask is picture


async def test_law_the_device_thread_waits_for_no_event_loop(worker, engine):
    """A chunk is made from its beginning to its end while the loop stands still."""
    handle = await worker.open(prompt="clay", seed=0)
    step = asyncio.create_task(worker.step(handle, request(9, "gold")))
    await asyncio.sleep(0)  # it lies in the thread's queue
    flushed, deadline = engine.flushed, time.monotonic() + PATIENCE_S
    while engine.flushed == flushed and time.monotonic() < deadline:
        time.sleep(0.001)  # noqa: ASYNC251 -- the loop is to stand still
    assert engine.flushed == flushed + 1 and engine.steps[0][1].prompt == "gold"
    assert not step.done() and len((await step).frames) == 9


async def test_what_is_put_in_the_slot_is_taken_as_late_as_the_engine_asks(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    job, told = request(9, "gold"), []
    job = ChunkJob(job.frames, grey, job.slot, on_taken=lambda: told.append("taken"), on_frames=told.append)
    engine.may_ask.clear()
    step = asyncio.create_task(worker.step(handle, job))
    await asyncio.sleep(0)
    assert job.slot.replace(ChunkParameters(prompts=(("ice", 1.0),)))
    engine.may_ask.set()
    await step
    assert engine.steps[0][1].prompt == "ice"
    assert told[0] == "taken" and [len(piece.frames) for piece in told[1:]] == [1, 4, 4]


async def test_frames_are_converted_in_the_models_thread(worker):
    handle = await worker.open(prompt="clay", seed=0)
    threads = []

    def convert(frames):
        threads.append(threading.current_thread().name)
        return grey(frames)

    await worker.step(handle, asking(9, ChunkParameters(), to_rgb=convert))
    assert threads == ["engine"]


async def test_bad_input_is_told_and_the_stream_goes_on(worker):
    with pytest.raises(InputRejected, match="not known"):
        await worker.open(prompt="reject", seed=0)
    handle = await worker.open(prompt="clay", seed=0)
    with pytest.raises(InputRejected, match="not known"):
        await worker.step(handle, request(9, "reject"))
    assert (await worker.step(handle, request(9))).chunk == 0


async def test_a_camera_frame_that_cannot_be_converted_harms_nothing(worker):
    handle = await worker.open(prompt="gold", seed=0)

    def broken(frames: Sequence[int]) -> list[np.ndarray]:
        raise ValueError("no such pixel format")

    with pytest.raises(InputRejected, match="no such pixel format"):
        await worker.step(handle, asking(9, ChunkParameters(), to_rgb=broken))
    assert len((await worker.step(handle, request(handle.frames_wanted))).frames) == 9


async def test_failed_generation_is_told_and_the_stream_starts_afresh(worker):
    handle = await worker.open(prompt="clay", seed=0)
    await worker.step(handle, request(9))
    with pytest.raises(StreamWasReset, match="NaN") as reset:
        await worker.step(handle, request(12, "diverge"))
    assert reset.value.frames_wanted == 9
    assert (await worker.step(handle, request(9))).generation == 1


async def test_any_other_error_is_the_callers_and_others_go_on(worker):
    lost, healthy = [await worker.open(prompt="clay", seed=0) for _ in range(2)]
    with pytest.raises(RuntimeError, match="out of memory"):
        await worker.step(lost, request(9, "explode"))
    assert len((await worker.step(healthy, request(9))).frames) == 9
    assert worker.readiness.phase is Phase.READY


async def test_sessions_alternate_chunk_by_chunk(worker, engine):
    engine.step_seconds = 0.01
    order = []

    async def play(name: str) -> None:
        handle = await worker.open(prompt="clay", seed=0)
        for count in (9, *[12] * 4):
            async with worker.scheduler.take(Client(lambda _: None)):
                await worker.step(handle, request(count))
                order.append(name)

    await asyncio.gather(play("a"), play("b"))
    assert order[1:-1] in (["b", "a"] * 4, ["a", "b"] * 4)


async def test_closing_frees_the_stream(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    await worker.step(handle, request(9))
    assert len(engine.streams) == 1
    worker.close(handle)
    other = await worker.open(prompt="clay", seed=0)  # jobs are done in order
    gc.collect()
    assert list(engine.streams) == [other.stream]
    with pytest.raises(EngineUnavailable):
        await worker.step(handle, request(12))


async def held_step(worker, engine, handle) -> asyncio.Task:
    """A chunk that the thread has begun and cannot end before `engine.may_ask` is set."""
    engine.may_ask.clear()
    has_begun = threading.Event()

    def convert(frames):
        has_begun.set()
        return grey(frames)

    step = asyncio.create_task(worker.step(handle, asking(9, ChunkParameters(), to_rgb=convert)))
    await until(has_begun.is_set, "the thread to begin")
    return step


async def test_a_step_nobody_waits_for_any_more_harms_nothing(worker, engine):
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    handle = await worker.open(prompt="clay", seed=0)
    step = await held_step(worker, engine, handle)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    engine.may_ask.set()
    assert (await worker.step(handle, request(12))).chunk == 1
    assert not errors


async def test_no_stream_is_opened_for_one_who_has_left_before_its_turn(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    step = await held_step(worker, engine, handle)
    opened = []
    worker._thread.open = lambda *asked: opened.append(asked)
    openings = [asyncio.create_task(worker.open(prompt="clay", seed=n)) for n in range(5)]
    await asyncio.sleep(0)  # they are in the queue
    for opening in openings:
        opening.cancel()
    await asyncio.gather(*openings, return_exceptions=True)
    engine.may_ask.set()
    await step
    await worker.idle()
    assert not opened


OPENINGS = {
    "anew": lambda worker: worker.open(prompt="clay", seed=0),
    "of a snapshot": lambda worker: worker.restore(StreamSnapshot("clay", 2, 21, 0).parts()),
}


@pytest.mark.parametrize("opens", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("when", ["it is opened", "its answer is on the way", "its answer is there"])
async def test_a_stream_whose_opening_nobody_waits_for_is_freed_in_the_thread(worker, engine, opens, when):
    """At each point from where it is made to where somebody owns it."""
    await worker.ready()
    engine.may_open.clear()
    opening = asyncio.create_task(opens(worker))
    await until(lambda: engine.opening, "the thread to be at it")
    if when == "it is opened":
        opening.cancel()
        await asyncio.sleep(0)
        engine.may_open.set()
    else:
        behind = asyncio.create_task(worker.idle())
        await asyncio.sleep(0)  # it is in the queue: once the thread is at that, it has sent the answer
        engine.may_open.set()
        hold_the_loop_until(lambda: engine.flushed)
        if when == "its answer is there":
            asyncio.get_running_loop().call_soon(opening.cancel)
        else:
            opening.cancel()
        await behind
    with pytest.raises(asyncio.CancelledError):
        await opening
    await worker.idle()
    assert engine.opening == 1 and not engine.streams
    assert engine.freed_in == ["engine"]


def hold_the_loop_until(is_so: Callable[[], object]) -> None:
    """Meanwhile only the thread goes on."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("prompt", ["reject", "explode", "diverge"])
async def test_what_went_wrong_with_a_chunk_keeps_nothing_of_its_stream(worker, engine, prompt):
    """An error goes into the log, and lives as long as a session that failed of it."""
    handle = await worker.open(prompt="clay", seed=0)
    with pytest.raises((InputRejected, RuntimeError, StreamWasReset)) as error:
        await worker.step(handle, request(9, prompt))
    worker.close(handle)
    await worker.idle()
    assert engine.freed_in == ["engine"], error


async def test_an_error_that_is_its_own_cause_is_told(worker):
    handle = await worker.open(prompt="clay", seed=0)
    wrong = RuntimeError("no memory")

    def convert(frames):
        raise wrong from wrong

    with pytest.raises(RuntimeError, match="no memory"):
        await worker.step(handle, asking(9, ChunkParameters(), to_rgb=convert))
    await worker.idle()


async def test_stop_ends_the_chunk_at_hand_joins_the_thread_and_fails_what_waits(worker, engine, caplog):
    handle = await worker.open(prompt="clay", seed=0)
    step = await held_step(worker, engine, handle)
    stopping = asyncio.create_task(worker.stop())
    late = asyncio.create_task(worker.step(handle, request(12)))
    await until(late.done, "who comes too late to be told")
    assert not stopping.done() and not step.done()
    engine.may_ask.set()
    await stopping
    assert not any(t.name == "engine" for t in threading.enumerate())
    assert "leaving it behind" not in caplog.text
    assert len((await step).frames) == 9
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await late
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await worker.open(prompt="clay", seed=0)


async def test_a_thread_that_hangs_is_left_behind_and_what_waits_for_it_is_told(
    worker, engine, monkeypatch, caplog
):
    handle = await worker.open(prompt="clay", seed=0)
    step = await held_step(worker, engine, handle)
    waiting = asyncio.create_task(worker.step(handle, request(12)))
    await asyncio.sleep(0)  # it lies in the thread's queue
    with monkeypatch.context() as patch:
        patch.setattr("server.engine.client.JOIN_TIMEOUT_S", 0.01)
        await worker.stop()
    assert "leaving it behind" in caplog.text
    for job in (step, waiting):
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await asyncio.wait_for(job, PATIENCE_S)
    engine.may_ask.set()


async def test_stamp_is_the_source(engine):
    worker = EngineClient(load_settings({"stamp_source": True}), import_engine=lambda: engine)
    worker.start()
    handle = await worker.open(prompt="clay", seed=0)
    shown = []

    def show(piece):
        shown.extend(piece.frames)

    def tens(frames):
        return grey([10 * frame for frame in frames])

    await worker.step(handle, asking(9, ChunkParameters(), show, tens))
    assert [int(picture[-1, 0, 0]) for picture in shown] == list(range(9))
    assert [int(picture[-1, 0, 1]) for picture in shown] == [4] * 9
    assert [int(picture[0, 0, 0]) for picture in shown] == [10 * n for n in range(9)]
    shown.clear()
    await worker.step(handle, asking(12, ChunkParameters(reset=True), show, tens))
    assert [int(picture[0, 0, 0]) for picture in shown] == [10 * n for n in range(3, 12)], "the newest 9"
    await worker.stop()


async def test_pieces_come_before_the_chunk_they_are_of(worker):
    handle = await worker.open(prompt="clay", seed=0)
    for count, lengths in ((9, [1, 4, 4]), (12, [4, 4, 4])):
        pieces = []
        whole = await worker.step(handle, asking(count, ChunkParameters(), pieces.append))
        assert [len(piece.frames) for piece in pieces] == lengths
        assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), whole.frames)
        assert {piece.frames_in_chunk for piece in pieces} == {count}


async def test_memory_is_prepared_while_nobody_waits(settings, engine):
    """Before the first stream, and again when the last has ended; a job comes before the rest of it."""
    engine.to_prepare = 100
    engine.may_prepare.clear()
    async with started_worker(settings, engine) as worker:
        await until(lambda: engine.prepared == 1, "a beginning")
        opening = asyncio.create_task(worker.open(prompt="snow", seed=0))
        await asyncio.sleep(0)  # it has asked
        engine.may_prepare.set()
        handle = await opening
        assert engine.prepared == 1
        engine.to_prepare = 3
        worker.close(handle)
        await until(lambda: engine.prepared == 3, "what there is to do")
        handle = await worker.open(prompt="snow", seed=0)
        engine.to_prepare = 4
        await worker.step(handle, request(9))
        await worker.encode(["gold"])
        assert engine.prepared == 3, "a stream is open"
        worker.close(handle)
        await until(lambda: engine.prepared == 4, "the rest")


async def test_a_server_that_cannot_prepare_serves_all_the_same(settings, engine, caplog):
    engine.prepare_error = RuntimeError("out of memory")
    async with started_worker(settings, engine) as worker:
        handle = await worker.open(prompt="snow", seed=0)
        assert len((await worker.step(handle, request(9))).frames) == 9
        await until(lambda: "Preparing for a stream failed" in caplog.text, "an attempt, once there is time")
        assert len((await worker.step(handle, request(12))).frames) == 12
        await worker.idle()
        assert caplog.text.count("Preparing for a stream failed") == 1
        assert worker.readiness.phase is Phase.READY


async def test_pictures_do_not_wait_for_what_their_chunk_leaves_undone(worker, engine):
    await worker.ready()
    handle = await worker.open(prompt="snow", seed=0)
    engine.may_flush.clear()
    assert len((await worker.step(handle, request(9))).frames) == 9
    idle = asyncio.create_task(worker.idle())
    await asyncio.sleep(0)  # it has asked
    assert engine.flushed == 0 and not idle.done()
    engine.may_flush.set()
    await idle
    assert engine.flushed == 2, "of the chunk, and of whatever other jobs have left to the device"


async def test_a_chunk_that_cannot_be_finished_is_logged_and_others_go_on(worker, engine, caplog):
    await worker.ready()
    engine.flush_error = RuntimeError("out of memory")
    handle = await worker.open(prompt="snow", seed=0)
    await worker.step(handle, request(9))
    await worker.step(handle, request(12))
    assert "Finishing a chunk failed" in caplog.text


@pytest.mark.parametrize("fails", ["step", "flush"])
async def test_a_device_that_is_gone_makes_the_server_unready(worker, engine, fails, caplog):
    """A CUDA error that stays: every chunk of everybody would fail, and /readyz would say 200."""
    await worker.ready()
    handle = await worker.open(prompt="clay", seed=0)
    engine.device_error = RuntimeError("CUDA error: an illegal memory access was encountered")
    if fails == "step":
        with pytest.raises(EngineUnavailable, match="start the server again"):
            await worker.step(handle, request(9, "explode"))
    else:
        engine.flush_error = RuntimeError("the same")
        await worker.step(handle, request(9))
    await until(lambda: worker.readiness.phase is Phase.FAILED, "the worker to see it")
    assert worker.readiness.reason == "the device can do no more work, start the server again"
    assert "illegal memory access" in caplog.text, "the device's own words are for the log"
    with pytest.raises(EngineUnavailable, match="start the server again"):
        await worker.open(prompt="clay", seed=0)


async def test_a_device_that_goes_while_nobody_needs_it_makes_the_server_unready(
    settings, engine, monkeypatch
):
    """As a rank that is killed: whoever came next would be the one to meet it."""
    monkeypatch.setattr("server.engine.thread.IDLE_LOOK_S", 0.01)
    async with started_worker(settings, engine) as worker:
        await worker.ready()
        engine.device_error = RuntimeError("rank 1 of 2 was ended by signal 9")
        await until(lambda: worker.readiness.phase is Phase.FAILED, "the worker to see it")
        assert worker.is_lost


@pytest.mark.virtual_time
async def test_law_a_thread_that_ends_fails_who_waits_and_lets_nobody_in(worker, engine, caplog):
    """A library's SystemExit, say."""
    handle, other = [await worker.open(prompt="clay", seed=0) for _ in range(2)]
    steps = [asyncio.create_task(worker.step(one, request(9, "exit"))) for one in (handle, other)]
    words = "the model's thread has ended, start the server again"
    for step in steps:
        with pytest.raises(EngineUnavailable, match=words):
            await step
    assert (worker.readiness.phase, worker.readiness.reason) == (Phase.FAILED, words)
    assert "SystemExit: 3" in caplog.text
    with pytest.raises(EngineUnavailable, match=words):
        await worker.open(prompt="clay", seed=0)
    began = asyncio.get_running_loop().time()
    await worker.stop()
    assert asyncio.get_running_loop().time() == began


async def test_a_thread_that_ends_while_it_loads_is_told(settings, engine):
    engine.load_error = SystemExit(3)
    async with started_worker(settings, engine) as worker:
        with pytest.raises(EngineUnavailable, match="thread has ended"):
            await worker.ready()


@pytest.mark.virtual_time
@pytest.mark.parametrize("hangs_in", ["may_ask", "may_go_on", "may_flush"])
async def test_law_a_thread_that_hangs_fails_who_waits_and_lets_nobody_in(
    worker, engine, settings, caplog, monkeypatch, hangs_in
):
    """After `engine_timeout`; and who stops the server does not wait for it."""
    handle, other = [await worker.open(prompt="clay", seed=0) for _ in range(2)]
    loop, gate = asyncio.get_running_loop(), getattr(engine, hangs_in)
    gate.clear()
    began = loop.time()
    steps = [asyncio.create_task(worker.step(one, request(9))) for one in (handle, other)]
    words = "the model has not answered for 120 s, start the server again"
    with pytest.raises(EngineUnavailable, match=words):
        await steps[1]
    assert loop.time() - began == pytest.approx(settings.engine_timeout)
    await asyncio.gather(*steps, return_exceptions=True)
    assert (worker.readiness.phase, worker.readiness.reason) == (Phase.FAILED, words)
    assert "fakes.py" in caplog.text, "the log says where it hangs"
    with pytest.raises(EngineUnavailable, match=words):
        await worker.open(prompt="clay", seed=0)
    waited = []
    with monkeypatch.context() as patch:
        patch.setattr(worker._thread, "join", waited.append)
        await worker.stop()
    assert not waited and worker._thread.is_alive
    gate.set()
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive and len(engine.steps) == 1, "it does nothing that nobody waits for"


@pytest.mark.virtual_time
async def test_a_thread_that_is_slow_but_answers_is_left_alone(engine):
    """Each chunk takes nearly as long as is allowed, while others wait for theirs much longer."""
    engine.step_seconds = 0.9
    async with started_worker(load_settings({"engine_timeout": 1.0}), engine) as worker:
        handles = [await worker.open(prompt="clay", seed=0) for _ in range(4)]
        for count in (9, 12):
            await asyncio.gather(*(worker.step(handle, request(count)) for handle in handles))
        await asyncio.sleep(3600)
        assert worker.readiness.phase is Phase.READY, "nobody expects anything of it"


async def test_an_error_of_one_session_leaves_the_server_ready(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    with pytest.raises(RuntimeError, match="out of memory"):
        await worker.step(handle, request(9, "explode"))
    await worker.open(prompt="clay", seed=0)
    assert worker.readiness.phase is Phase.READY


async def test_the_pace_is_that_of_the_warm_up_and_then_of_the_chunks(settings, engine):
    engine.warm_pace, engine.step_seconds = 500.0, 0.1
    async with started_worker(settings, engine) as worker:
        await worker.ready()
        assert worker.pace == 500.0
        handle = await worker.open(prompt="clay", seed=0)
        began = time.monotonic()
        for count in (9, 12, 12):
            await worker.step(handle, request(count))
        await until(lambda: worker.pace != 500.0, "the chunks' own pace")
        assert 9 / (time.monotonic() - began) < worker.pace <= 12 / engine.step_seconds


async def test_what_was_seen_ahead_is_neither_converted_nor_seen_again(worker, engine):
    handle, converted = await worker.open(prompt="clay", seed=0), []

    def convert(frames):
        converted.append((threading.current_thread().name, *frames))
        return grey(frames)

    assert await worker.look_ahead(handle, (0, 1, 2), convert) is not None
    assert await worker.look_ahead(handle, (0, 2, 4, 5), convert) is not None, "1 is wanted no more"
    result = await worker.step(handle, asking(9, ChunkParameters(), to_rgb=convert))
    assert converted == [("engine", 0, 1, 2), ("engine", 4, 5), ("engine", 1, 3, 6, 7, 8)]
    assert engine.looked_at == [3, 2]
    assert [int(frame[0, 0, 2]) for frame in result.frames] == list(range(9))
    assert not handle.seen


async def test_a_frame_that_a_chunk_has_twice_is_converted_once(worker):
    handle, converted = await worker.open(prompt="clay", seed=0), []

    def convert(frames):
        converted.extend(frames)
        return grey(frames)

    asked = LatestWins(ChunkParameters())
    job = ChunkJob([0, 0, 1, 2, 2, 2, 3, 4, 4], convert, asked, on_taken=int, on_frames=lambda piece: None)
    result = await worker.step(handle, job)
    assert [int(frame[0, 0, 2]) for frame in result.frames] == list(job.frames)
    assert converted == [0, 1, 2, 3, 4]


async def test_law_nothing_is_seen_ahead_while_another_job_waits(worker, engine):
    """Another stream's chunk, in the queue behind it."""
    handle, other = [await worker.open(prompt="clay", seed=0) for _ in range(2)]
    step = await held_step(worker, engine, handle)
    ahead = asyncio.create_task(worker.look_ahead(handle, (0, 1, 2), grey))
    await asyncio.sleep(0)  # it lies in the thread's queue
    waiting = asyncio.create_task(worker.step(other, request(9)))
    await asyncio.sleep(0)
    engine.may_ask.set()
    assert await ahead is None and not engine.looked_at and not handle.seen
    assert (await step).chunk == (await waiting).chunk == 0


async def test_frames_that_cannot_be_seen_ahead_harm_nothing(worker, engine, caplog):
    handle = await worker.open(prompt="clay", seed=0)
    await worker.look_ahead(handle, (0, 1, 2), grey)
    engine.look_error = RuntimeError("no kernel")
    assert await worker.look_ahead(handle, (0, 1, 2, 3, 4, 5), grey) is not None
    assert "Looking ahead at frames failed" in caplog.text and handle.seen.keys() == {0, 1, 2}
    assert len((await worker.step(handle, request(9))).frames) == 9
    assert worker.readiness.phase is Phase.READY


async def test_what_was_seen_ahead_goes_with_its_stream(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    await worker.look_ahead(handle, (0, 1, 2), grey)
    worker.close(handle)
    await worker.idle()
    assert not handle.seen
    assert await worker.look_ahead(handle, (0, 1, 2), grey) is None and engine.looked_at == [3]


async def test_a_device_that_is_lost_ahead_of_a_chunk_is_told(worker, engine):
    handle = await worker.open(prompt="clay", seed=0)
    engine.device_error = RuntimeError("CUDA error")
    with pytest.raises(EngineUnavailable, match="can do no more work"):
        await worker.look_ahead(handle, (0, 1, 2), grey)
    assert worker.readiness.phase is Phase.FAILED


async def test_a_window_is_computed_ahead_unless_another_job_waits(worker, engine):
    handle, other = [await worker.open(prompt="clay", seed=0) for _ in range(2)]
    gold = (("gold", 1.0),)
    assert await worker.recache_ahead(handle, gold)
    step = await held_step(worker, engine, handle)
    ahead = asyncio.create_task(worker.recache_ahead(handle, (("silver", 1.0),)))
    await asyncio.sleep(0)  # it lies in the thread's queue
    waiting = asyncio.create_task(worker.step(other, request(9)))
    await asyncio.sleep(0)
    engine.may_ask.set()
    assert not await ahead and engine.recached_ahead == [gold]
    assert (await step).chunk == (await waiting).chunk == 0


async def test_a_window_that_cannot_be_computed_ahead_ends_nothing(worker, engine, caplog):
    handle = await worker.open(prompt="clay", seed=0)
    engine.recache_error = RuntimeError("no kernel")
    assert await worker.recache_ahead(handle, (("gold", 1.0),))
    assert "Recomputing a window ahead failed" in caplog.text
    assert len((await worker.step(handle, request(9))).frames) == 9
    worker.close(handle)
    await worker.idle()
    assert not await worker.recache_ahead(handle, (("gold", 1.0),)) and len(engine.recached_ahead) == 1


async def test_the_pace_counts_what_was_done_ahead(worker, monkeypatch):
    """A device that is shared has no time for it: the pace must not promise that."""
    handle, seconds = await worker.open(prompt="clay", seed=0), itertools.count()
    monkeypatch.setattr("server.engine.thread.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    await worker.step(handle, request(9))
    await worker.idle()
    (alone,) = worker._thread._paces
    await worker.look_ahead(handle, (0, 1, 2), grey)
    await worker.look_ahead(handle, (0, 1, 2, 3, 4, 5), grey)
    for _ in range(2):
        await worker.step(handle, request(12))
    await worker.idle()
    assert [12 / pace - 9 / alone for pace in list(worker._thread._paces)[1:]] == pytest.approx([2, 0])
