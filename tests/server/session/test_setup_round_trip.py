"""A set-up saved and loaded again: what is in effect then is what was."""

from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.protocol.replies import OutputState, SessionSettings
from server.protocol.requests import (
    Command,
    DepthPoint,
    GuidanceKey,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetOutput,
    SetPrompt,
    SetRegion,
    SetSeed,
    SetSteps,
    SetTimeline,
    StopTimeline,
    TimelineStep,
    WeightedPrompt,
)
from server.protocol.setup import decode_setup, encode_setup, setup_of
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue
from server.session.parameters import Parameters
from tests.server.fakes import INFO

SHARE = st.floats(0, 1)
SCALE = st.floats(0, 2)
TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and text.isprintable())
CHANGE = {
    "transition": st.sampled_from(["recache", "blend", "cut"]),
    "chunks": st.integers(1, 32),
    "curve": st.sampled_from(["linear", "slerp"]),
}
PROMPTS = st.lists(
    st.builds(WeightedPrompt, text=TEXT, weight=st.floats(0.1, 10)), min_size=1, max_size=3
).map(tuple)
TIMES = st.lists(st.integers(1, 90), max_size=3, unique=True).map(lambda later: [0, *sorted(later)])
LEVELS = st.sampled_from(["standard", "low", "lower", "lowest"])
STEPS = st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True).map(
    lambda s: tuple(sorted(s)[::-1])
)


def timeline(times: list[int], text: str, prompts: tuple[WeightedPrompt, ...], loops: bool) -> SetTimeline:
    steps = [
        TimelineStep(at=at, text=text) if at % 2 else TimelineStep(at=at, prompts=prompts) for at in times
    ]
    return SetTimeline(id="x", steps=tuple(steps), loop=loops, duration=100.0 if loops else None)


def keyframes(times: list[int], scale: float, adaptive: float, loops: bool) -> SetGuidance:
    keys = tuple(GuidanceKey(at=at, scale=scale) for at in times)
    return SetGuidance(id="x", keyframes=keys, adaptive=adaptive, loop=loops and len(keys) > 1)


COMMANDS = st.one_of(
    st.builds(SetPrompt, id=st.just("x"), text=TEXT, **CHANGE),
    st.builds(SetPrompt, id=st.just("x"), prompts=PROMPTS, **CHANGE),
    st.builds(timeline, TIMES, TEXT, PROMPTS, st.booleans()),
    st.just(StopTimeline(id="x")),
    st.builds(SetGuidance, id=st.just("x"), scale=SCALE, adaptive=SHARE),
    st.builds(keyframes, TIMES, SCALE, SHARE, st.booleans()),
    st.builds(
        SetDepth,
        id=st.just("x"),
        enabled=st.booleans(),
        smoothing=SHARE,
        points=st.lists(st.builds(DepthPoint, x=SHARE, y=SHARE, value=SHARE), max_size=2).map(tuple),
    ),
    st.builds(SetControls, id=st.just("x"), gray=SCALE | st.none(), lines=SCALE | st.none()),
    st.builds(SetRegion, id=st.just("x"), distance=SHARE | st.none(), side=st.sampled_from(["near", "far"])),
    st.builds(
        SetCameraStart,
        id=st.just("x"),
        noise_scale=st.sampled_from([1.0, 0.6, 0.3]),
        follows_motion=st.booleans(),
    ),
    st.builds(SetSteps, id=st.just("x"), steps=STEPS | st.just((1000,)) | st.none()),
    st.builds(SetLatency, id=st.just("x"), level=LEVELS),
    st.builds(SetSeed, id=st.just("x"), mode=st.just("fixed"), seed=st.integers(0, 2**63 - 1) | st.none()),
    st.just(SetSeed(id="x", mode="random")),
    st.builds(
        SetOutput, id=st.just("x"), fps=st.floats(1, 60) | st.none(), quality=st.sampled_from(["low", "high"])
    ),
)


class Stream:
    """Of a session all that commands change, without its loop."""

    def __init__(self, latency: str = "standard", preset: tuple[Command, ...] = ()) -> None:
        seeds = count(100)
        begins = Parameters.of("clay", 3, latency)
        self.planner = ChunkPlanner(ControlQueue(), begins, lambda: next(seeds), preset)
        self.planner.begin_with(INFO, is_new=True)
        self.output = OutputState().changed_by(preset)
        self._sequence = 0

    def carry_out(self, *commands: Command, time: float = 0.0) -> None:
        """Together, by one chunk."""
        self.planner.submit_together(commands, 0.0, time)
        self.output = self.output.changed_by(commands)
        self._sequence += 1
        self.planner.begin(self._sequence, time).take()
        self.planner.taken()
        self.planner.made(1)
        self.planner.finish()

    def saved(self) -> str:
        now = self.planner.parameters
        settings = SessionSettings(
            prompts=now.prompts,
            transition=now.transition,
            guidance=now.guidance_state(),
            depth=now.depth_state(),
            controls=now.controls,
            references=now.references,
            mask=now.mask,
            region=now.region_state(),
            camera_start=now.camera_start_state(),
            steps=now.steps,
            latency=now.latency,
            shape=now.shape_state(),
            seed=now.seed_state(),
            frozen=False,
            paused=False,
            recording=False,
            timeline=now.timeline_state(0.0),
            output=self.output,
        )
        return encode_setup(setup_of(settings))


@example([SetSteps(id="x", steps=(1000, 750, 250))], "standard", "low")  # those of the latency that is there
@given(st.lists(COMMANDS, max_size=12), LEVELS, LEVELS)
def test_law_a_set_up_loaded_into_a_fresh_session_is_saved_as_it_was(commands, latency, fresh):
    """Whatever was asked before, whatever the other server begins with, and as well by its preset file."""
    first = Stream(latency)
    for time, command in enumerate(commands):
        first.carry_out(command, time=10.0 * time)
    saved = first.saved()
    loaded = Stream(fresh)
    loaded.carry_out(*decode_setup(saved).commands("setup"))
    assert loaded.saved() == saved
    preset = Stream(fresh, decode_setup(saved).commands("preset"))
    preset.carry_out()
    assert preset.saved() == saved


def test_law_what_is_loaded_is_one_chunks_however_early_the_engine_takes_it():
    """Of commands one by one the first would be this chunk's and the rest the next one's."""
    queue = ControlQueue()
    planner = ChunkPlanner(queue, Parameters.of("clay", 3))
    slot = planner.begin(1, 0.0)
    offered = []
    replace = slot.replace

    def replaced(value: object) -> bool:
        offered.append(value)
        took = replace(value)
        slot.take()  # the engine is there as soon as anything lies in the slot
        return took

    slot.replace = replaced
    commands = decode_setup(
        '{"version": 1, "prompt": {"text": "gold"}, "guidance": {"scale": 0.5}, "depth": {"smoothing": 0.5}}'
    ).commands("x")
    replies = planner.submit_together(commands, 0.0, 0.0)
    assert [(reply.type, reply.id) for reply in replies] == [
        ("ack", "x-prompt"),
        ("ack", "x-guidance"),
        ("ack", "x-depth"),
    ]
    planner.taken()
    assert len(offered) == 1 and queue.waiting == []
    assert [reply.id for reply in queue.shown(1, 0, 0, 0.0)] == ["x-prompt", "x-guidance", "x-depth"]


PRESET = """{"version": 1, "prompt": {"text": "gold"}, "guidance": {"scale": 0.5},
  "seed": {"mode": "fixed", "seed": 9}, "region": {"distance": 0.4}, "output": {"fps": 12}}"""


def test_a_preset_is_in_effect_from_the_beginning_and_asked_until_a_chunk_is_made():
    stream = Stream(preset=decode_setup(PRESET).commands("preset"))
    begins = stream.planner.parameters
    assert [prompt.text for prompt in begins.prompts] == ["gold"]
    assert (begins.scale, begins.current_seed, begins.region.distance) == (0.5, 9, 0.4)
    assert stream.output.fps == 12
    for sequence in (1, 2):
        asked = stream.planner.begin(sequence, 0.0).take()
        assert asked.prompts == (("gold", 1.0),) and asked.guidance_scale == 0.5
        stream.planner.taken()
        stream.planner.lost()
        stream.planner.finish()
    stream.carry_out()
    assert stream.planner.begin(9, 0.0).take().prompts is None


MOVING = """{"version": 1, "timeline": {"steps": [{"at": 0, "text": "gold"}, {"at": 5, "text": "ice"}]},
  "guidance": {"keyframes": [{"at": 0, "scale": 0.5}, {"at": 9, "scale": 1.5}]}}"""


def test_what_moves_in_a_preset_begins_with_the_first_chunk_and_gives_way_to_the_persons_own():
    stream = Stream(preset=decode_setup(MOVING).commands("preset"))
    stream.carry_out(time=100.0)
    now = stream.planner.parameters
    assert now.prompts[0].text == "gold" and now.timeline.position(103.0) == pytest.approx(3.0)
    assert now.scale == pytest.approx(0.5)
    stream.carry_out(time=106.0)
    assert stream.planner.parameters.prompts[0].text == "ice", "it goes on and does not begin again"
    other = Stream(preset=decode_setup(MOVING).commands("preset"))
    other.carry_out(StopTimeline(id="1"), SetPrompt(id="2", text="wool"), time=100.0)
    assert other.planner.parameters.timeline is None
    assert other.planner.parameters.prompts[0].text == "wool"


def test_a_random_seed_of_a_preset_is_drawn_for_each_session():
    stream = Stream(preset=decode_setup('{"version": 1, "seed": {"mode": "random"}}').commands("preset"))
    assert stream.planner.parameters.current_seed == 100
