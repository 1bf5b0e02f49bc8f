"""The command handler with the parts that it acts on, and no session, no engine and no camera."""

import asyncio
import json
import logging

import numpy as np
import pytest
from av import VideoFrame

from server.media.pacing import MediaClock, Pacer
from server.metrics import Metrics, StreamMeter
from server.protocol.replies import Pong, RecordingChanged
from server.protocol.requests import SetOutput, SetPrompt
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue
from server.session.commands import CommandHandler
from server.session.generation import GenerationLoop
from server.session.parameters import Parameters
from server.session.state import SessionStateMachine, State
from tests.server.pictures import picture

pytestmark = pytest.mark.virtual_time


class Prefetch:
    def __init__(self) -> None:
        self.started = []

    def start(self, texts) -> None:
        self.started.append(list(texts))


class Handled:
    """A handler whose news are in `messages`; `ask` gives a command and returns what its id is answered."""

    def __init__(self, recordings=None) -> None:
        now = asyncio.get_running_loop().time
        meter, channels = StreamMeter(Metrics(), now()), ClientChannels(10.0, Metrics())
        self.messages, self.prefetch = [], Prefetch()
        self.channels = channels
        channels.attach(lambda text: self.messages.append(json.loads(text)))
        self.feed = CameraFeed("abc", 30, now())
        self.state = SessionStateMachine("loading", lambda message: None, logging.getLogger(__name__))
        queue = ControlQueue()
        self.planner = ChunkPlanner(queue, Parameters.of("clay", 3))
        self.generation = GenerationLoop(
            "abc",
            None,  # nothing is played
            feed=self.feed,
            planner=self.planner,
            pacer=Pacer(MediaClock()),
            meter=meter,
            on_frames=lambda: None,
            on_change=lambda: self.handler.chunk_changed(),
            tell=channels.send,
        )
        self.handler = CommandHandler(
            "abc",
            channels=channels,
            queue=queue,
            planner=self.planner,
            generation=self.generation,
            feed=self.feed,
            state=self.state,
            prefetch=self.prefetch,
            recordings=recordings,
            stats=lambda id: Pong(id=f"stats {id}"),
        )

    def applied(self) -> list[str]:
        return [message["id"] for message in self.told("applied")]

    def ask(self, type: str, id: str, **fields) -> list[dict]:
        answers = self.handler.ask(json.dumps({"type": type, "id": id, **fields}))
        return [json.loads(answer.model_dump_json()) for answer in answers]

    def types(self, type: str, id: str, **fields) -> list[str]:
        return [answer["type"] for answer in self.ask(type, id, **fields)]

    def told(self, type: str) -> list[dict]:
        """What everybody has been told of this type."""
        return [message for message in self.messages if message["type"] == type]

    def make(self, sequence: int, chunk: int = 0) -> None:
        """A chunk from its beginning to its end."""
        self.planner.begin(sequence, self.generation.time()).take()
        self.planner.taken()
        self.planner.made(chunk)
        self.handler.chunk_changed()
        self.planner.finish()
        self.handler.chunk_changed()

    def film(self) -> VideoFrame:
        frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        self.feed.push(frame, asyncio.get_running_loop().time())
        return frame


@pytest.fixture
async def handled():
    handled = Handled()
    yield handled
    handled.handler.close()


async def test_a_pause_stops_the_generation_and_is_applied_at_once_without_a_chunk(handled):
    handled.handler.shown(picture(frame=7), pts=0, now=0.0)
    ack, applied = handled.ask("pause", "1")
    assert (ack["type"], applied["type"], applied["frame"]) == ("ack", "applied", 7)
    assert handled.generation.is_paused and handled.handler.settings().paused
    assert handled.types("resume", "2") == ["ack"], "applied with the first picture after it"
    assert not handled.generation.is_paused and not handled.handler.settings().paused


async def test_law_a_pause_is_applied_when_the_chunk_with_the_model_is_finished(handled):
    handled.planner.begin(1, 0.0)
    assert handled.types("pause", "1") == ["ack"]
    handled.planner.made(0)
    handled.handler.chunk_changed()
    assert not handled.applied(), "more of its pictures are to come"
    handled.planner.finish()
    handled.handler.chunk_changed()
    assert handled.applied() == ["1"]


async def test_a_pause_ends_a_wait_for_the_camera_once_there_is_a_picture(handled):
    handled.state.become(State.WAITING, "for the camera")
    handled.ask("pause", "1")
    assert handled.state.state is State.WAITING, "nothing has been shown"
    handled.handler.shown(picture(), pts=0, now=0.0)
    handled.ask("pause", "2")
    assert handled.state.state is State.LIVE


async def test_a_freeze_holds_the_newest_frame_of_the_camera(handled):
    held = handled.film()
    assert handled.types("freeze.set", "1", on=True) == ["ack"]
    handled.film()
    assert handled.feed.newest is held and handled.handler.settings().frozen
    handled.ask("freeze.set", "2", on=False)
    assert handled.film() is handled.feed.newest


async def test_the_rate_of_the_output_is_the_cameras(handled):
    limits = []
    handled.feed.limit_fps = limits.append
    assert handled.types("output.set", "1", fps=10) == ["ack", "applied"]
    assert handled.types("output.set", "2", quality="low") == ["ack", "applied"]
    handled.ask("output.set", "3", fps=None)
    assert limits == [10, None] and handled.handler.settings().output.quality == "low"


async def test_prompts_are_prefetched_when_they_are_asked(handled):
    handled.ask("prompt.set", "1", prompts=[{"text": "gold"}, {"text": "ice"}])
    handled.ask("guidance.set", "2", scale=0.5)
    assert handled.prefetch.started == [["gold", "ice"]]


async def test_of_a_failed_session_nothing_that_is_asked_together_is_taken(handled):
    handled.state.become(State.FAILED, "no memory")
    asked = (SetPrompt(id="1", text="gold"), SetOutput(id="2", fps=10))
    (error,) = handled.handler.ask_together(asked)
    assert (error.code, error.message) == ("rejected", "no memory")
    assert handled.planner.parameters.prompts[0].text == "clay" and handled.prefetch.started == []
    assert handled.handler.settings().output.fps is None


async def test_what_is_asked_together_takes_effect_as_if_asked_one_by_one(handled):
    asked = (SetPrompt(id="1", text="gold"), SetOutput(id="2", fps=10))
    assert handled.types("prompt.set", "0", text="ice") == ["ack"]
    acks = handled.handler.ask_together(asked)
    assert [(ack.type, ack.id) for ack in acks] == [("ack", "1"), ("ack", "2")]
    assert [message["id"] for message in handled.told("superseded")] == ["0"]
    assert handled.prefetch.started == [["ice"], ["gold"]] and handled.applied() == ["2"]
    handled.make(1)
    assert handled.planner.parameters.prompts[0].text == "gold"


async def test_a_failed_session_refuses_all_but_the_end_of_a_recording(handled):
    handled.state.become(State.FAILED, "no memory")
    (refused,) = handled.ask("prompt.set", "1", text="gold")
    assert (refused["code"], refused["message"]) == ("rejected", "no memory")
    assert handled.types("record.stop", "2") == ["ack", "error"], "answered: nothing is being recorded"
    assert handled.types("stats", "3") == ["ack", "pong"]


async def test_a_command_is_applied_when_a_picture_of_its_chunk_goes_out(handled):
    handled.ask("guidance.set", "1", scale=0.5)
    handled.planner.begin(1, 0.0)
    handled.planner.taken()
    handled.planner.made(0)
    handled.planner.finish()
    assert not handled.applied()
    handled.handler.shown(picture(sequence=1, frame=3), pts=0, now=0.0)
    (applied,) = handled.told("applied")
    assert (applied["id"], applied["frame"]) == ("1", 3)


async def test_it_begins_with_what_the_server_was_told(handled):
    settings = handled.handler.settings()
    assert [(prompt.text, prompt.weight) for prompt in settings.prompts] == [("clay", 1.0)]
    assert (settings.seed.mode, settings.seed.seed, settings.seed.current) == ("fixed", 3, 3)
    assert (settings.paused, settings.frozen, settings.recording) == (False, False, False)
    assert settings.timeline is None and handled.handler.timeline_position() is None


async def test_answers_go_to_who_asked_and_news_to_all(handled):
    told = []

    def say(id: str, send) -> None:
        text = json.dumps({"type": "prompt.set", "id": id, "text": id})
        handled.handler.receive(text, send, is_peer=False)

    for id in ("1", "2", "1"):
        say(id, lambda text: told.append(json.loads(text)))
    assert [(m["type"], m["id"]) for m in told] == [
        ("ack", "1"),
        ("ack", "2"),
        ("ack", "1"),
        ("superseded", "1"),
    ], "sent again, all that it was answered so far"
    assert [(m["type"], m["id"], m["by"]) for m in handled.messages] == [("superseded", "1", "2")]
    say("3", None)
    assert [(m["type"], m["id"]) for m in handled.messages[1:]] == [("ack", "3"), ("superseded", "2")]


async def test_only_the_peers_own_ping_promises_a_heartbeat(handled):
    ping, later = '{"type": "ping", "id": "1"}', asyncio.get_running_loop().time() + 1e6
    assert handled.types("ping", "1") == ["pong"]
    handled.handler.receive(ping, None, is_peer=False)
    assert not handled.channels.is_lost(later)
    handled.handler.receive(ping, None, is_peer=True)
    assert handled.channels.is_lost(later)


@pytest.mark.parametrize(
    ("type", "fields", "told"),
    [
        ("pause", {}, {"paused": True}),
        ("freeze.set", {"on": True}, {"frozen": True}),
        ("output.set", {"quality": "low"}, {"output": {"fps": None, "quality": "low"}}),
        ("output.set", {"fps": 12}, {"output": {"fps": 12, "quality": "high"}}),
    ],
)
async def test_what_takes_effect_at_once_is_told_to_all(handled, type, fields, told):
    handled.ask(type, "1", **fields)
    await asyncio.sleep(1)
    (settings,) = handled.told("settings")
    assert {name: settings[name] for name in told} == told
    if type == "pause":
        handled.ask("resume", "2")
        await asyncio.sleep(1)
        assert handled.told("settings")[-1]["paused"] is False


async def test_what_a_chunk_has_changed_is_told_to_all(handled):
    handled.ask("guidance.set", "1", scale=0.5)
    await asyncio.sleep(1)
    assert not handled.told("settings"), "it is not in effect yet"
    handled.make(1)
    await asyncio.sleep(1)
    assert handled.told("settings")[-1]["guidance"]["scale"] == 0.5


async def test_a_resume_of_what_runs_is_applied_at_once(handled):
    handled.handler.shown(picture(frame=5), pts=0, now=0.0)
    ack, applied = handled.ask("resume", "1")
    assert (ack["type"], applied["type"], applied["frame"]) == ("ack", "applied", 5)


async def test_pictures_that_are_not_kept_are_refused_by_their_field(handled):
    (refused,) = handled.ask("references.set", "1", images=["x"])
    assert (refused["code"], refused["field"], refused["value"]) == ("invalid", "images[0]", "x")
    (refused,) = handled.ask("mask.set", "2", image="x")
    assert (refused["code"], refused["field"], refused["value"]) == ("invalid", "image", "x")
    assert handled.types("mask.set", "3", image=None) == ["ack"]
    id = handled.planner.images.add(np.zeros((16, 16, 3), np.uint8))
    assert handled.types("references.set", "4", images=[id]) == ["ack"]


STEPS = [{"at": 0, "text": "a"}, {"at": 5, "text": "b"}, {"at": 9, "text": "c"}]


async def test_the_next_step_of_a_timeline_is_prefetched_once_the_one_before_is_in_effect(handled):
    handled.ask("timeline.set", "1", steps=STEPS)
    handled.planner.begin(1, handled.generation.time())
    handled.planner.taken()
    handled.planner.made(0)
    assert not handled.prefetch.started
    handled.handler.chunk_changed()
    handled.handler.chunk_changed()
    assert handled.prefetch.started == [["b"]]
    handled.planner.finish()
    handled.make(2, chunk=1)
    assert handled.prefetch.started == [["b"]]
    await asyncio.sleep(6)
    handled.make(3, chunk=2)
    assert handled.prefetch.started == [["b"], ["c"]]


async def test_a_pause_stops_the_clock_of_what_moves_by_itself(handled):
    handled.ask("timeline.set", "1", steps=STEPS)
    handled.make(1)
    await asyncio.sleep(2)
    handled.ask("pause", "2")
    await asyncio.sleep(60)
    assert handled.handler.timeline_position() == 2
    handled.ask("resume", "3")
    await asyncio.sleep(1)
    assert handled.handler.timeline_position() == 3 == handled.handler.settings().timeline.position


async def test_a_new_prompt_is_a_recache_ahead(handled):
    assert handled.planner.recached_next(handled.generation.time()) is None
    handled.ask("prompt.set", "1", text="gold")
    assert handled.planner.recached_next(handled.generation.time()) is not None


async def test_what_a_lost_chunk_has_changed_is_told_to_all(handled):
    handled.ask("prompt.set", "1", text="gold", transition="blend", chunks=8)
    handled.make(1, chunk=5)
    await asyncio.sleep(1)
    assert handled.told("settings")[-1]["transition"] is not None
    handled.planner.begin(2, 0.0)
    handled.planner.lost()
    handled.planner.finish()
    handled.handler.chunk_changed()
    await asyncio.sleep(1)
    assert handled.told("settings")[-1]["transition"] is None, "the blend is over, and all hear of it"


class Recordings:
    """A store of one recording, which is told everything and is itself the recording."""

    def __init__(self) -> None:
        self.is_over, self.news, self.offered, self.reasons = False, None, [], []

    def start(self, session, *, side_by_side, on_change, with_sound):
        assert not with_sound, "none has come"
        self.is_over, self.news, self.side_by_side = False, on_change, side_by_side
        return self

    def offer(self, rgb, pts, now, camera, fit) -> None:
        assert fit == "fill"
        self.offered.append(pts)

    def stop(self, now, reason="") -> None:
        self.is_over = True
        self.reasons.append(reason)


async def test_a_recording_has_what_is_shown_from_its_start_to_its_stop():
    recordings = Recordings()
    handled = Handled(recordings)
    handled.handler.shown(picture(), 1, 0.0)
    assert handled.types("record.start", "1", side_by_side=True) == ["ack", "applied"]
    handled.handler.shown(picture(), 2, 0.0)
    news = RecordingChanged(state="recording", name="a.mp4", seconds=0.0, bytes=0, detail="")
    recordings.news(news)
    await asyncio.sleep(1)
    assert len(handled.told("recording")) == 1 and handled.told("settings")[-1]["recording"] is True
    assert handled.types("record.stop", "2") == ["ack", "applied"]
    handled.handler.shown(picture(), 3, 0.0)
    assert recordings.offered == [2] and recordings.side_by_side and recordings.reasons == [""]
    handled.ask("record.start", "3")
    handled.handler.close()
    assert recordings.reasons == ["", "the session ended"] and recordings.side_by_side is False


async def test_a_server_that_keeps_no_recordings_refuses(handled):
    ack, refused = handled.ask("record.start", "1")
    assert refused["message"] == "this server keeps no recordings"
    assert handled.handler.settings().recording is False


async def test_closed_it_tells_nothing_more(handled):
    handled.ask("freeze.set", "1", on=True)
    handled.handler.close()
    await asyncio.sleep(10)
    assert not handled.told("settings")
