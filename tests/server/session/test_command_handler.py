"""The command handler with the parts that it acts on, and no session, no engine and no camera."""

import asyncio
import json
import logging

import numpy as np
import pytest
from av import VideoFrame

from server.metrics import Metrics, StreamMeter
from server.protocol.replies import Pong, RecordingChanged
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels
from server.session.commands import CommandHandler
from server.session.gate import GenerationGate
from server.session.playout import Playout
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
        self.playout = Playout(self, now)
        self.gate = GenerationGate(self.feed, self.playout.pacer, meter)
        self.state = SessionStateMachine("loading", lambda message: None, logging.getLogger(__name__))
        self.handler = CommandHandler(
            channels,
            recordings,
            feed=self.feed,
            gate=self.gate,
            playout=self.playout,
            state=self.state,
            prefetch=self.prefetch,
            stats=lambda id: Pong(id=f"stats {id}"),
            session_id="abc",
            prompt="clay",
            seed=3,
        )

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
        self.handler.begin(sequence).take()
        self.handler.taken()
        self.handler.made(sequence, result(chunk))
        self.handler.finished()

    def film(self) -> VideoFrame:
        frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        self.feed.push(frame, asyncio.get_running_loop().time())
        return frame


@pytest.fixture
async def handled():
    handled = Handled()
    yield handled
    handled.handler.close()


async def test_a_pause_closes_the_gate_and_is_applied_at_once_without_a_chunk(handled):
    handled.playout.picture = picture(frame=7)
    ack, applied = handled.ask("pause", "1")
    assert (ack["type"], applied["type"], applied["frame"]) == ("ack", "applied", 7)
    assert not handled.gate.is_open and handled.handler.is_paused
    assert handled.types("resume", "2") == ["ack"], "applied with the first picture after it"
    assert handled.gate.is_open and not handled.handler.is_paused


async def test_law_a_pause_is_applied_when_the_chunk_with_the_model_is_finished(handled):
    handled.handler.begin(1)
    assert handled.types("pause", "1") == ["ack"]
    handled.handler.taken()
    handled.handler.made(0)
    assert not [m for m in handled.messages if m["type"] == "applied"]
    handled.handler.finished()
    assert [m["id"] for m in handled.messages if m["type"] == "applied"] == ["1"]


async def test_a_pause_ends_a_wait_for_the_camera_once_there_is_a_picture(handled):
    handled.state.become(State.WAITING, "for the camera")
    handled.ask("pause", "1")
    assert handled.state.state is State.WAITING, "nothing has been shown"
    handled.playout.picture = picture()
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


async def test_a_failed_session_refuses_all_but_the_end_of_a_recording(handled):
    handled.state.become(State.FAILED, "no memory")
    (refused,) = handled.ask("prompt.set", "1", text="gold")
    assert (refused["code"], refused["message"]) == ("rejected", "no memory")
    assert handled.types("record.stop", "2") == ["ack", "error"], "answered: nothing is being recorded"
    assert handled.types("stats", "3") == ["ack", "pong"]


async def test_a_command_is_applied_when_a_picture_of_its_chunk_goes_out(handled):
    handled.ask("guidance.set", "1", scale=0.5)
    handled.handler.begin(1)
    handled.handler.taken()
    handled.handler.made(0)
    handled.handler.finished()
    assert not [m for m in handled.messages if m["type"] == "applied"]
    handled.handler.shown(picture(sequence=1, frame=3), pts=0, now=0.0)
    (applied,) = [m for m in handled.messages if m["type"] == "applied"]
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
    handled.playout.picture = picture(frame=5)
    ack, applied = handled.ask("resume", "1")
    assert (ack["type"], applied["type"], applied["frame"]) == ("ack", "applied", 5)


async def test_pictures_that_are_not_kept_are_refused_by_their_field(handled):
    (refused,) = handled.ask("references.set", "1", images=["x"])
    assert (refused["code"], refused["field"], refused["value"]) == ("invalid", "images[0]", "x")
    (refused,) = handled.ask("mask.set", "2", image="x")
    assert (refused["code"], refused["field"], refused["value"]) == ("invalid", "image", "x")
    assert handled.types("mask.set", "3", image=None) == ["ack"]
    id = handled.handler.images.add(np.zeros((16, 16, 3), np.uint8))
    assert handled.types("references.set", "4", images=[id]) == ["ack"]


STEPS = [{"at": 0, "text": "a"}, {"at": 5, "text": "b"}, {"at": 9, "text": "c"}]


async def test_what_moves_by_itself_is_asked_of_the_chunk_under_way_until_it_is_taken(handled):
    handled.ask("timeline.set", "1", steps=STEPS)
    handled.make(1)
    slot, refreshed, refresh = handled.handler.begin(2), [], handled.handler._planner.refresh
    handled.handler._planner.refresh = lambda time: refreshed.append(time) or refresh(time)
    await asyncio.sleep(9.5)
    assert slot.take().prompts == (("c", 1.0),) and len(refreshed) == 2
    handled.handler.taken()
    handled.handler.made(2, result(1))
    handled.handler.finished()
    handled.ask("timeline.set", "2", steps=STEPS)
    for ends in (handled.handler.taken, handled.handler.finished, handled.handler.close):
        handled.make(3)
        handled.handler.begin(4)
        ends()
        await asyncio.sleep(20)
        assert len(refreshed) == 2, "no timer is left"
        handled.handler.finished()
        handled.ask("timeline.set", ends.__name__, steps=STEPS)


async def test_the_next_step_of_a_timeline_is_prefetched_once(handled):
    handled.ask("timeline.set", "1", steps=STEPS)
    handled.make(1)
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
    assert not handled.handler.is_recache_ahead
    handled.ask("prompt.set", "1", text="gold")
    assert handled.handler.is_recache_ahead


async def test_what_a_refused_chunk_was_asked_waits_again_or_is_refused(handled):
    handled.ask("prompt.set", "1", text="gold")
    handled.ask("seed.set", "2", mode="random")
    handled.handler.begin(1).take()
    handled.handler.taken()
    handled.ask("seed.set", "3", mode="fixed")
    (refused,) = handled.handler.rejected("no such word")
    assert (refused.id, refused.message) == ("1", "no such word")
    assert [(m["id"], m["by"]) for m in handled.told("superseded")] == [("2", "3")]


async def test_what_a_lost_chunk_was_asked_waits_again_and_who_was_replaced_is_told(handled):
    handled.ask("prompt.set", "1", text="gold", transition="blend", chunks=8)
    handled.make(1, chunk=5)
    await asyncio.sleep(1)
    handled.ask("prompt.set", "2", text="ice")
    handled.handler.begin(2).take()
    handled.handler.taken()
    handled.ask("prompt.set", "3", text="clay")
    handled.handler.lost()
    handled.handler.finished()
    assert [(m["id"], m["by"]) for m in handled.told("superseded")] == [("2", "3")]
    await asyncio.sleep(1)
    assert handled.told("settings")[-1]["transition"] is None, "the blend is over, and all hear of it"
    assert handled.handler.begin(3).take().prompts == (("clay", 1.0),)


async def test_what_chunks_were_made_with_is_forgotten_once_later_ones_are_shown(handled):
    for sequence, scale in ((1, 0.1), (2, 0.2), (3, 0.3)):
        handled.ask("guidance.set", f"{sequence}", scale=scale)
        handled.make(sequence, chunk=sequence - 1)
    for sequence, scale, left in ((2, 0.2, {2, 3}), (2, 0.2, {2, 3}), (9, 0.2, set())):
        handled.handler.shown(picture(sequence), 0, 0.0)
        assert handled.handler.metadata.parameters.scale == scale
        assert set(handled.handler._metadata) == left


class Recordings:
    """A store of one recording, which is told everything and is itself the recording."""

    def __init__(self) -> None:
        self.is_over, self.news, self.offered, self.reasons = False, None, [], []

    def start(self, session, *, side_by_side, on_change):
        self.is_over, self.news, self.side_by_side = False, on_change, side_by_side
        return self

    def offer(self, rgb, pts, now, camera) -> None:
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
