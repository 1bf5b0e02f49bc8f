"""The command handler with the parts that it acts on, and no session, no engine and no camera."""

import asyncio
import json
import logging

import numpy as np
import pytest
from av import VideoFrame

from server.media.frames import Picture
from server.metrics import Metrics, StreamMeter
from server.protocol.replies import Pong
from server.session.camera import CameraFeed
from server.session.channel import ClientChannels
from server.session.commands import CommandHandler
from server.session.gate import GenerationGate
from server.session.playout import Playout
from server.session.state import SessionStateMachine, State
from streaming.api import ChunkResult

pytestmark = pytest.mark.virtual_time


class Prefetch:
    def __init__(self) -> None:
        self.started = []

    def start(self, texts) -> None:
        self.started.append(list(texts))


class Handled:
    """A handler whose news are in `messages`; `ask` gives a command and returns what its id is answered."""

    def __init__(self) -> None:
        now = asyncio.get_running_loop().time
        meter, channels = StreamMeter(Metrics(), now()), ClientChannels(10.0, Metrics())
        self.messages, self.prefetch = [], Prefetch()
        channels.attach(lambda text: self.messages.append(json.loads(text)))
        self.feed = CameraFeed("abc", 30, now())
        self.playout = Playout(self, now)
        self.gate = GenerationGate(self.feed, self.playout.pacer, meter)
        self.state = SessionStateMachine("loading", lambda message: None, logging.getLogger(__name__))
        self.handler = CommandHandler(
            channels,
            None,
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

    def film(self) -> VideoFrame:
        frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        self.feed.push(frame, asyncio.get_running_loop().time())
        return frame


@pytest.fixture
async def handled():
    handled = Handled()
    yield handled
    handled.handler.close()


def picture(sequence: int = 1, frame: int = 7) -> Picture:
    rgb = np.zeros((48, 64, 3), np.uint8)
    return Picture(rgb=rgb, chunk=0, frame=frame, sequence=sequence, captured=0.0, made=0.0)


def result(chunk: int = 0) -> ChunkResult:
    return ChunkResult(
        frames=np.zeros((9, 4, 6, 3), np.uint8),
        chunk=chunk,
        first_frame=0,
        frames_in_chunk=9,
        generation=0,
        guidance_scale=1.0,
    )


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
    handled.handler.made(1, result())
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


async def test_what_a_picture_was_made_with_is_told_when_it_is_shown(handled):
    handled.ask("guidance.set", "1", scale=0.5)
    handled.handler.begin(1)
    handled.handler.taken()
    handled.handler.made(1, result())
    handled.handler.finished()
    assert handled.handler.metadata is None
    handled.handler.shown(picture(sequence=1, frame=3), pts=0, now=0.0)
    assert handled.handler.metadata.parameters.scale == 0.5
    (applied,) = [m for m in handled.messages if m["type"] == "applied"]
    assert (applied["id"], applied["frame"]) == ("1", 3)
