"""Commands that come at any moment while chunks are made: whose they are."""

from collections import deque
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.protocol.replies import ControlsState
from server.protocol.requests import (
    GuidanceKey,
    Reset,
    SetControls,
    SetDepth,
    SetFreeze,
    SetGuidance,
    SetLatency,
    SetMask,
    SetPrompt,
    SetReferences,
    SetSeed,
    SetTimeline,
    TimelineStep,
)
from server.session.chunk_planner import ChunkPlanner
from server.session.command_queue import ControlQueue
from server.session.parameters import TRACK_PERIOD_S, Parameters
from streaming.api import ChunkParameters, DepthSettings
from tests.server.fakes import INFO

CLAY = Parameters.of("clay", 3)


class Planned(ChunkPlanner):
    """A planner with its queue."""

    def __init__(self, parameters: Parameters = CLAY) -> None:
        seeds = count(100)
        self.queue = ControlQueue()
        super().__init__(self.queue, parameters, lambda: next(seeds))

    def waiting(self) -> list[str]:
        return [command.id for command in self.queue.waiting]

    def applied(self, sequence: int) -> list[str]:
        """What the first picture of this chunk says has been applied."""
        return [reply.id for reply in self.queue.shown(sequence, 1, 0, 0)]


def planner(begin_with: Parameters = CLAY) -> Planned:
    return Planned(begin_with)


def prompt(id: str, text: str = "gold") -> SetPrompt:
    return SetPrompt(id=id, text=text)


def test_law_a_latency_to_begin_with_is_asked_until_a_chunk_is_made():
    plan = planner(Parameters.of("clay", 3, "low"))
    plan.begin_with(INFO, is_new=True)
    for sequence in (1, 2):
        assert plan.begin(sequence, 0).take().steps == (1000, 750, 250)
        plan.taken()
        plan.lost()
        plan.finish()
    plan.begin(3, 0)
    plan.taken()
    plan.made(0)
    plan.finish()
    assert plan.begin(4, 0).take() == ChunkParameters()


def test_one_that_goes_on_keeps_what_is_in_effect_and_knows_the_models_steps():
    begun = replace(CLAY, latency="lowest", steps=(900,))  # by another process, which is gone
    plan = planner(begun)
    plan.begin_with(INFO, is_new=False)
    assert plan.parameters == begun.of_model(INFO)
    plan.submit(SetLatency(id="1", level="lower"), 0, 0)
    assert plan.begin(1, 0).take().steps == (1000, 500)


def test_what_comes_before_the_engine_takes_it_is_this_chunks():
    plan = planner()
    plan.submit(prompt("1", "gold"), 0, 0)
    slot = plan.begin(1, 0)
    plan.submit(prompt("2", "ice"), 0, 0)
    plan.submit(SetDepth(id="3", smoothing=0.5), 0, 0)
    asked = slot.take()
    assert asked.prompts == (("ice", 1.0),) and asked.depth == DepthSettings(smoothing=0.5)
    plan.taken()
    assert plan.waiting() == [] and plan.applied(1) == ["2", "3"]
    assert plan.made(0).depth == DepthSettings(smoothing=0.5)


def test_strengths_that_wait_together_are_asked_together_and_again_if_the_chunk_is_lost():
    plan = planner()
    plan.submit(SetControls(id="1", gray=1.5), 0, 0)
    slot = plan.begin(1, 0)
    replies = plan.submit(SetControls(id="2", lines=0.5), 0, 0)
    assert [reply.type for reply in replies] == ["ack", "superseded"]
    assert dict(slot.take().controls) == {"gray": 1.5, "lines": 0.5}
    plan.taken()
    plan.submit(SetControls(id="3", gray=0.0), 0, 0)
    assert [reply.by for reply in plan.lost()] == ["3"]
    plan.finish()
    assert plan.parameters.controls == CLAY.controls, "nothing is in effect that was not made"
    assert dict(plan.begin(2, 0).take().controls) == {"gray": 0.0, "lines": 0.5}
    plan.taken()
    assert plan.made(0).controls == ControlsState(gray=0.0, lines=0.5)


def test_what_comes_after_is_the_next_ones_even_before_the_loop_has_heard():
    plan = planner()
    plan.submit(prompt("1", "gold"), 0, 0)
    slot = plan.begin(1, 0)
    assert slot.take().prompts == (("gold", 1.0),)
    replies = plan.submit(prompt("2", "ice"), 0, 0)
    assert [reply.type for reply in replies] == ["ack"], "what was taken is not superseded"
    assert plan.taken().asked.prompts == (("gold", 1.0),)
    assert plan.waiting() == ["2"] and plan.applied(1) == ["1"]


def test_what_moves_by_itself_is_asked_when_it_is_due():
    plan = planner()
    steps = (TimelineStep(at=0, text="a"), TimelineStep(at=5, text="b"))
    plan.submit(SetTimeline(id="1", steps=steps), 0, 0)
    plan.begin(1, 10).take()
    plan.taken()
    assert plan.next_move(10) is None, "the chunk has been taken"
    plan.made(0)
    plan.finish()
    slot = plan.begin(2, 14)
    assert plan.next_move(14) == 1
    plan.refresh(15)
    assert slot.take().prompts == (("b", 1.0),)


def test_a_strength_that_moves_is_followed_until_it_holds():
    plan = planner()
    keys = (GuidanceKey(at=0, scale=0), GuidanceKey(at=2, scale=2))
    plan.submit(SetGuidance(id="1", keyframes=keys), 0, 0)
    plan.begin(1, 0).take()
    plan.taken()
    plan.made(0)
    plan.finish()
    slot = plan.begin(2, 0.5)
    assert plan.next_move(0.5) == TRACK_PERIOD_S
    plan.refresh(1.0)
    assert slot.take().guidance_scale == 1.0
    assert CLAY.next_move(0) is None
    assert plan.parameters.next_move(2.0) is None


def test_pictures_of_a_chunk_under_way_are_kept_until_it_ends():
    plan = planner()
    mask = np.zeros((16, 16, 3), np.uint8)
    id = plan.images.add(mask)
    plan.submit(SetMask(id="1", image=id), 0, 0)
    slot = plan.begin(1, 0)
    assert slot.take().mask is mask
    plan.taken()
    assert id in plan.images_in_use()
    plan.reject("no", 0)
    plan.finish()
    assert id not in plan.images_in_use()


def test_what_shapes_frames_is_taken_with_them():
    plan = planner()
    plan.submit(SetFreeze(id="1", on=True), 0, 0)
    plan.begin(1, 0).take()
    plan.submit(SetFreeze(id="2", on=False), 0, 0)
    plan.taken()
    assert plan.waiting() == ["2"] and plan.applied(1) == ["1"]


def ids(commands) -> list[str]:
    return [command.id for command in commands]


def test_whether_a_chunk_is_under_way_is_known():
    plan = planner()
    assert not plan.is_busy and plan.next_move(0) is None
    plan.submit(SetTimeline(id="1", steps=(TimelineStep(at=0, text="a"), TimelineStep(at=5, text="b"))), 0, 0)
    plan.begin(1, 0)
    assert plan.is_busy and plan.next_move(0) == 5
    plan.finish()
    assert not plan.is_busy and plan.next_move(0) is None


@pytest.mark.parametrize(("is_made", "waiting"), [(False, ["1"]), (True, [])])
def test_what_a_lost_chunk_was_asked_is_asked_again_unless_it_was_seen(is_made, waiting):
    plan = planner()
    plan.submit(prompt("1"), 0, 0)
    plan.begin(1, 0).take()
    plan.taken()
    if is_made:
        plan.made(0)
    assert plan.lost() == []
    plan.finish()
    assert ids(plan.queue.waiting) == waiting


def test_a_stream_that_started_afresh_has_the_whole_prompt():
    plan = planner()
    plan.submit(SetPrompt(id="1", text="gold", transition="blend", chunks=8), 0, 0)
    plan.begin(1, 0).take()
    plan.taken()
    assert plan.made(5).transition is not None
    plan.finish()
    plan.begin(2, 0).take()
    plan.taken()
    plan.lost()
    assert plan.parameters.transition is None and plan.parameters.prompts[0].text == "gold"


def test_a_step_that_the_model_refuses_is_asked_once():
    plan = planner()
    plan.submit(SetTimeline(id="1", steps=(TimelineStep(at=0, text="a"), TimelineStep(at=5, text="b"))), 0, 0)
    plan.begin(1, 0).take()
    plan.taken()
    plan.made(0)
    plan.finish()
    assert plan.begin(2, 5).take().prompts == (("b", 1.0),)
    plan.taken()
    assert plan.reject("no", 5) == [], "nobody asked for it just now"
    plan.finish()
    assert plan.begin(3, 6).take() == ChunkParameters()


@pytest.mark.parametrize(
    ("set_it", "clear_it"),
    [
        (lambda id: SetMask(id="1", image=id), SetMask(id="2", image=None)),
        (lambda id: SetReferences(id="1", images=(id,)), SetReferences(id="2", images=())),
    ],
)
def test_pictures_in_effect_are_kept_until_they_are_cleared(set_it, clear_it):
    plan = planner()
    id = plan.images.add(np.zeros((16, 16, 3), np.uint8))
    for sequence, (command, is_in_use) in enumerate(((set_it(id), True), (clear_it, False))):
        plan.submit(command, 0, 0)
        plan.begin(sequence, 0).take()
        plan.taken()
        plan.made(sequence)
        plan.finish()
        assert (id in plan.images_in_use()) is is_in_use


KINDS = ("prompt.set", "guidance.set", "reset", "seed.set")


class Run:
    """A loop and a device thread that go on by turns, in any order, and what became of every command."""

    def __init__(self) -> None:
        self.plan = planner(replace(CLAY, seed_mode="random"))
        self.sequence = 0
        self.slot = None
        self.taken: ChunkParameters | None = None  # by the thread
        self.posts = deque()  # from the thread to the loop
        self.sent: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.asked: dict[int, ChunkParameters] = {}  # of chunks that were made, as the engine saw it
        self.in_effect: dict[int, Parameters] = {}  # after these
        self.applied: dict[int, list[str]] = {}
        self.superseded: list[str] = []
        self.rejected: list[str] = []

    def enabled(self) -> list[str]:
        """What can happen now."""
        steps = list(KINDS)
        if self.slot is None:
            steps.append("begin")
        elif self.taken is None and not self.posts:
            steps += ["take", "fail early"]
        elif self.taken is not None and not any(post.startswith("end") for post in self.posts):
            steps += ["end: made", "end: rejected", "end: lost"]
        return [*steps, "hear"] if self.posts else steps

    def go(self, step: str) -> None:
        match step:
            case "begin":
                self.sequence += 1
                self.slot, self.taken = self.plan.begin(self.sequence, 0), None
            case "take":
                assert self.slot is not None
                self.taken = self.slot.take()
                self.posts.append("taken")
            case "fail early":
                self.posts.append("end: rejected")
            case "hear":
                self.hear(self.posts.popleft())
            case _ if step in KINDS:
                self.send(step)
            case _:
                self.posts.append(step)

    def finish(self) -> None:
        """Make the chunk under way, and another one."""
        while not {"begin", "take"} & set(self.enabled()):
            self.go("hear" if self.posts else "end: made")
        for step in (*(["begin"] if self.slot is None else []), "take", "end: made", "hear", "hear"):
            self.go(step)

    def send(self, kind: str) -> None:
        number = sum(map(len, self.sent.values())) + 1
        id = str(number)
        self.sent[kind].append(id)
        command = {
            "prompt.set": lambda: SetPrompt(id=id, text=id),
            "guidance.set": lambda: SetGuidance(id=id, scale=number / 1000),
            "reset": lambda: Reset(id=id),
            "seed.set": lambda: SetSeed(id=id, mode="random"),
        }[kind]()
        self.note(self.plan.submit(command, 0, 0))

    def note(self, replies) -> None:
        self.superseded += [reply.id for reply in replies if reply.type == "superseded"]
        self.rejected += [reply.id for reply in replies if reply.type == "error"]

    def hear(self, post: str) -> None:
        if post == "taken":
            self.plan.taken()
            return
        if post == "end: made":
            self.plan.made(1)
            self.asked[self.sequence] = self.taken
            self.in_effect[self.sequence] = self.plan.parameters
            self.applied[self.sequence] = self.plan.applied(self.sequence)
        else:
            self.note(self.plan.reject("no", 0) if post == "end: rejected" else self.plan.lost())
        self.plan.finish()
        self.slot = None


@given(st.lists(st.integers(0, 999), max_size=60))
def test_law_every_command_is_one_chunks_or_superseded_or_refused_or_waits(choices):
    run = Run()
    for choice in choices:
        run.go(run.enabled()[choice % len(run.enabled())])
    run.finish()
    applied = [id for ids in run.applied.values() for id in ids]
    ends = [*applied, *run.superseded, *run.rejected]
    assert sorted(ends + run.plan.waiting(), key=int) == sorted(
        (id for ids in run.sent.values() for id in ids), key=int
    )
    for ids in run.sent.values():  # of one kind, in the order they were sent
        assert [id for id in applied if id in ids] == [id for id in ids if id in applied]
    for sequence, asked in run.asked.items():
        of = {kind: [id for id in run.applied[sequence] if id in ids] for kind, ids in run.sent.items()}
        assert all(len(ids) <= 1 for ids in of.values())
        prompts = [((id, 1.0),) for id in of["prompt.set"]] or [None]
        scales = [int(id) / 1000 for id in of["guidance.set"]] or [None]
        assert [asked.prompts] == prompts and [asked.guidance_scale] == scales
        assert asked.reset == bool(of["reset"])
        told = run.in_effect[sequence]
        assert asked.prompts in (None, ((told.prompts[0].text, 1.0),))
        assert asked.guidance_scale in (None, told.scale)
        assert asked.seed in (None, told.current_seed), "the seed told is the seed used"
