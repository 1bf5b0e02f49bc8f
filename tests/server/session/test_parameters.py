from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    RegionState,
    TransitionState,
)
from server.protocol.requests import (
    DepthPoint,
    GuidanceKey,
    Pause,
    Reset,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetMask,
    SetPrompt,
    SetReferences,
    SetRegion,
    SetSeed,
    SetShape,
    SetSteps,
    SetTimeline,
    StopTimeline,
    TimelineStep,
    WeightedPrompt,
)
from server.session.parameters import Parameters, pictures_of
from server.session.timeline import Timeline
from streaming.api import (
    CLEAR,
    CONTROLS,
    CameraStart,
    ChunkParameters,
    DepthSettings,
    DistanceRegion,
)
from tests.server.fakes import INFO

IMAGES = {id: np.zeros((16, 16, 3), np.uint8) for id in "abm"}
CLAY = Parameters(prompts=(WeightedPrompt(text="clay"),), seed=3, current_seed=3)


def plan(*commands, parameters=CLAY, now=0.0, drawn=77):
    return parameters.plan(commands, now, lambda: drawn, IMAGES.__getitem__)


def text(parameters: Parameters) -> str:
    return parameters.prompts[0].text


def test_nothing_asked_changes_nothing():
    made = plan(Pause(id="1"))
    assert made.asked == ChunkParameters() and made.after == CLAY


def test_weights_reach_the_model_as_they_are():
    prompts = (WeightedPrompt(text="gold", weight=3), WeightedPrompt(text="ice", weight=1))
    made = plan(SetPrompt(id="1", prompts=prompts, transition="blend", chunks=7, curve="linear"))
    assert made.asked == ChunkParameters(
        prompts=(("gold", 3), ("ice", 1)), transition="blend", blend_chunks=7, blend_curve="linear"
    )
    assert made.after.prompts == prompts


@pytest.mark.parametrize(
    ("command", "is_switch"),
    [
        (SetPrompt(id="1", text="gold"), True),
        (SetPrompt(id="1", text="gold", transition="cut"), True),
        (SetPrompt(id="1", text="gold", transition="blend"), False),
        (Reset(id="1"), True),
        (SetGuidance(id="1", scale=1), False),
    ],
)
def test_a_switch_is_what_changes_the_look_at_once(command, is_switch):
    assert plan(command).asked.is_switch == is_switch


@pytest.mark.parametrize(
    ("commands", "recaches"),
    [
        ([SetPrompt(id="1", text="gold")], True),
        ([SetPrompt(id="1", text="gold", transition="cut")], False),
        ([SetPrompt(id="1", text="gold", transition="blend")], False),
        ([SetPrompt(id="1", text="gold"), Reset(id="2")], False),
        ([Reset(id="1")], False),
        ([], False),
    ],
)
def test_the_window_is_computed_anew_for_a_new_prompt_that_starts_nothing_over(commands, recaches):
    assert plan(*commands).asked.recaches is recaches


def test_a_blend_is_told_until_its_last_chunk():
    after = plan(SetPrompt(id="1", text="gold", transition="blend", chunks=3)).after
    states = []
    for chunk in range(5, 9):
        after = after.made(chunk)
        states.append(after.transition and after.transition.done)
    assert states == [1, 2, None, None]
    assert plan(SetPrompt(id="1", text="gold", transition="blend")).after.made(0).transition is None
    assert plan(SetPrompt(id="1", text="gold", transition="blend")).after.after_failure().transition is None


def test_a_blend_to_where_it_goes_already_goes_on():
    after = plan(SetPrompt(id="1", text="gold", transition="blend", chunks=3)).after.made(5)
    again = plan(SetPrompt(id="2", text="gold", transition="blend", chunks=9), parameters=after).after
    assert again.transition == TransitionState(transition="blend", done=1, chunks=3, curve="slerp")
    other = plan(SetPrompt(id="2", text="ice"), parameters=after).after
    assert other.transition is None


def test_guidance_is_set_as_a_whole():
    keys = (GuidanceKey(at=0, scale=0.5), GuidanceKey(at=2, scale=1.5))
    moving = plan(SetGuidance(id="1", keyframes=keys, adaptive=0.5), now=10)
    assert (moving.asked.guidance_scale, moving.asked.adaptive) == (0.5, 0.5)
    later = plan(parameters=moving.after, now=11)
    assert later.asked == ChunkParameters(guidance_scale=1.0)
    assert later.after.guidance_state().scale is None
    still = plan(SetGuidance(id="2", scale=1.2), parameters=later.after, now=12)
    assert (still.asked.guidance_scale, still.asked.adaptive) == (1.2, 0.0)
    assert still.after.guidance_state().keyframes is None
    assert (still.after.guidance_state().scale, still.after.guidance_state().adaptive) == (1.2, 0.0)
    assert still.after.guidance_state().loop is False
    assert moving.after.guidance_state().adaptive == 0.5
    assert plan(parameters=still.after, now=13).asked == ChunkParameters()


def test_keyframes_that_loop_begin_again_and_say_so():
    keys = (GuidanceKey(at=0, scale=0.5), GuidanceKey(at=2, scale=1.5))
    after = plan(SetGuidance(id="1", keyframes=keys, loop=True), now=10).after
    assert (after.guidance_state().keyframes, after.guidance_state().loop) == (keys, True)
    assert plan(parameters=after, now=13).asked.guidance_scale == pytest.approx(1.0)
    assert plan(parameters=after, now=13).after.scale == pytest.approx(1.0)


def test_strength_that_is_adapted_alone_keeps_its_scale():
    after = plan(SetGuidance(id="1", scale=1.5)).after
    keys = (GuidanceKey(at=0, scale=0.5),)
    moved = plan(SetGuidance(id="2", keyframes=keys), parameters=after).after
    assert moved.scale == 0.5, "where it was when the keyframes end"


def test_depth_is_patched():
    point = DepthPoint(x=0.1, y=0.2, value=0.3)
    first = plan(SetDepth(id="1", smoothing=0.5, points=(point,))).after
    second = plan(SetDepth(id="2", enabled=False), parameters=first)
    wanted = DepthSettings(enabled=False, smoothing=0.5, points=((0.1, 0.2, 0.3),))
    assert second.asked.depth == second.after.depth == wanted
    told = DepthState(enabled=False, smoothing=0.5, refinement=0.0, points=(point,))
    assert second.after.depth_state() == told
    assert plan(SetDepth(id="3", points=()), parameters=second.after).after.depth.points == ()


def test_controls_are_patched_and_depths_strength_is_not_theirs():
    first = plan(SetGuidance(id="1", scale=0.5), SetControls(id="2", gray=1.5))
    assert first.asked.controls == (("gray", 1.5),) and first.asked.guidance_scale == 0.5
    second = plan(SetControls(id="3", lines=0.25), parameters=first.after)
    assert second.asked == ChunkParameters(controls=(("lines", 0.25),))
    assert second.after.controls == ControlsState(gray=1.5, lines=0.25)
    third = plan(SetControls(id="4", gray=0.0), parameters=second.after)
    assert third.asked.controls == (("gray", 0.0),), "off is asked for, too"
    assert third.after.controls == ControlsState(gray=0.0, lines=0.25)
    assert third.after.scale == 0.5


def test_a_session_begins_with_the_models_strengths_and_others_are_off():
    begins = CLAY.beginning_with(replace(INFO, controls=(("gray", 0.75),)))
    assert (begins.scale, begins.controls) == (0.0, ControlsState(gray=0.75, lines=0.0))
    assert CLAY.beginning_with(INFO) == CLAY.of_model(INFO)
    everything = CLAY.beginning_with(replace(INFO, controls=(("lines", 2.0), ("depth", 0.5), ("gray", 1.0))))
    assert (everything.scale, everything.controls) == (0.5, ControlsState(gray=1.0, lines=2.0))


OF_MODEL = CLAY.of_model(INFO)
FEWER = {"low": (1000, 750, 250), "lower": (1000, 500), "lowest": (1000,)}  # than 1000, 750, 500, 250


@pytest.mark.parametrize("level", FEWER)
def test_law_a_latency_sets_steps_and_noise_scale_and_nothing_else(level):
    noise_scale = 0.6 if level == "lowest" else 1.0
    made = plan(SetLatency(id="1", level=level), parameters=OF_MODEL)
    assert made.asked == ChunkParameters(steps=FEWER[level], camera_start=CameraStart(noise_scale))
    start = CameraStart(noise_scale)
    assert made.after == replace(OF_MODEL, latency=level, steps=FEWER[level], camera_start=start)
    back = plan(SetLatency(id="2", level="standard"), parameters=made.after)
    assert back.asked == ChunkParameters(steps=CLEAR, camera_start=CameraStart())
    assert back.after == OF_MODEL


def test_a_latency_leaves_whether_the_start_follows_motion():
    moving = replace(OF_MODEL, camera_start=CameraStart(0.9, follows_motion=True))
    made = plan(SetLatency(id="1", level="lowest"), parameters=moving)
    assert made.asked.camera_start == CameraStart(0.6, follows_motion=True)


def test_law_a_latency_is_told_only_while_steps_and_noise_scale_are_its_own():
    at = plan(SetLatency(id="1", level="lowest"), parameters=OF_MODEL).after
    assert plan(SetCameraStart(id="2", noise_scale=0.7), parameters=at).after.latency is None
    assert plan(SetCameraStart(id="2", follows_motion=True), parameters=at).after.latency == "lowest"
    otherwise = plan(SetSteps(id="2", steps=(900, 300)), parameters=at).after
    assert otherwise.latency is None
    begun = plan(SetCameraStart(id="3", noise_scale=1.0), SetSteps(id="4", steps=None), parameters=otherwise)
    assert begun.after.latency == "standard"
    assert plan(SetSteps(id="2", steps=(1000,)), parameters=at).after.latency == "lowest"


def test_law_of_latency_and_steps_for_one_chunk_the_later_wins():
    low, own = SetLatency(id="1", level="low"), SetSteps(id="2", steps=(900, 300))
    assert plan(low, own, parameters=OF_MODEL).asked.steps == (900, 300)
    assert plan(own, low, parameters=OF_MODEL).asked.steps == FEWER["low"]


def test_a_session_may_begin_with_another_latency():
    begins = Parameters.of("clay", 3, "lower").beginning_with(INFO)
    assert (begins.latency, begins.steps, begins.camera_start) == ("lower", (1000, 500), CameraStart())
    made = begins.plan((), 0.0, lambda: 0, lambda id: None, unknown="sampling")
    assert made.asked == ChunkParameters(steps=(1000, 500), camera_start=CameraStart())
    assert made.after == begins


def test_every_control_of_the_engine_has_a_strength_on_the_wire():
    """Depth's is that of guidance."""
    assert {"depth", *ControlsState.model_fields} == set(CONTROLS)
    assert {"type", "id", *ControlsState.model_fields} == set(SetControls.model_fields)


def test_a_start_from_the_camera_is_patched():
    first = plan(SetCameraStart(id="1", noise_scale=0.6))
    assert first.asked == ChunkParameters(camera_start=CameraStart(0.6))
    second = plan(SetCameraStart(id="2", follows_motion=True), parameters=first.after)
    assert second.asked.camera_start == CameraStart(0.6, follows_motion=True) == second.after.camera_start
    assert second.after.camera_start_state() == CameraStartState(noise_scale=0.6, follows_motion=True)
    third = plan(SetCameraStart(id="3", noise_scale=1.0, follows_motion=False), parameters=second.after)
    assert third.asked.camera_start == CameraStart(), "noise alone is asked for, too"


def test_a_region_is_set_as_a_whole_and_cleared():
    first = plan(SetRegion(id="1", distance=0.3, side="far", softness=0.5))
    assert first.asked == ChunkParameters(distance_region=DistanceRegion(0.3, "far", 0.5))
    assert first.after.region_state() == RegionState(distance=0.3, side="far", softness=0.5)
    second = plan(SetRegion(id="2", distance=0.0), parameters=first.after)
    assert second.asked.distance_region == DistanceRegion(0.0), "the rest is as told, not as it was"
    none = plan(SetRegion(id="3", distance=None), parameters=second.after)
    assert none.asked.distance_region is CLEAR and none.after.region_state() is None


@pytest.mark.parametrize(
    "commands",
    [
        [Reset(id="1", picture="a")],
        [SetPrompt(id="1", text="gold", transition="cut", picture="a")],
        [Reset(id="1", picture="a"), SetPrompt(id="2", text="gold", transition="cut")],
        [SetPrompt(id="1", text="gold", transition="cut", picture="a"), Reset(id="2", seed=9)],
    ],
)
def test_a_fresh_start_may_begin_with_a_picture(commands):
    made = plan(*commands)
    assert made.asked.starts_over and made.asked.first_picture is IMAGES["a"]
    assert plan(Reset(id="9"), parameters=made.after).asked.first_picture is None, "once"
    assert pictures_of(commands) == {"a"}


def test_pictures_and_steps_are_set_and_cleared():
    made = plan(
        SetReferences(id="1", images=("a", "b")), SetMask(id="2", image="m"), SetSteps(id="3", steps=(9, 3))
    )
    first, second = made.asked.references
    assert first is IMAGES["a"] and second is IMAGES["b"] and made.asked.mask is IMAGES["m"]
    assert made.asked.steps == (9, 3)
    assert (made.after.references, made.after.mask, made.after.steps) == (("a", "b"), "m", (9, 3))
    none = plan(
        SetReferences(id="4", images=()),
        SetMask(id="5", image=None),
        SetSteps(id="6", steps=None),
        parameters=made.after,
    )
    assert (none.asked.references, none.asked.mask, none.asked.steps) == (CLEAR, CLEAR, CLEAR)
    assert (none.after.references, none.after.mask, none.after.steps) == ((), None, None)


def test_pictures_of_commands():
    commands = [
        SetReferences(id="1", images=("a", "b")),
        SetMask(id="2", image="m"),
        SetMask(id="3", image=None),
    ]
    assert pictures_of(commands) == {"a", "b", "m"}


def test_a_reset_keeps_the_prompt_and_everything_else():
    painted = plan(
        SetPrompt(id="1", text="gold"), SetGuidance(id="2", scale=0.3), SetControls(id="4", gray=0.7)
    ).after
    made = plan(Reset(id="3"), parameters=painted)
    assert made.asked == ChunkParameters(reset=True, seed=3)
    assert made.after == painted


@pytest.mark.parametrize(
    ("commands", "seed"),
    [
        ([Reset(id="1")], 3),
        ([Reset(id="1", seed=9)], 9),
        ([SetPrompt(id="1", text="a", transition="cut")], 3),
        ([SetSeed(id="1", mode="random"), Reset(id="2")], 77),
        ([SetSeed(id="1", mode="random"), Reset(id="2", seed=9)], 9),
        ([SetSeed(id="1", mode="random"), SetPrompt(id="2", text="a", transition="cut")], 77),
        ([SetSeed(id="1", mode="fixed", seed=8), Reset(id="2")], 8),
        ([Reset(id="1"), SetSeed(id="2", mode="fixed", seed=8)], 3),
        ([Reset(id="1", seed=9), SetPrompt(id="2", text="a", transition="cut")], 9),
        ([SetPrompt(id="1", text="a", transition="cut"), Reset(id="2", seed=9)], 9),
    ],
)
def test_what_a_fresh_start_begins_with(commands, seed):
    made = plan(*commands)
    assert made.asked.reset and made.asked.seed == seed == made.after.seed_state().current


def test_a_fixed_seed_without_a_number_is_the_one_on_show():
    drawn = plan(SetSeed(id="1", mode="random"), Reset(id="2")).after
    assert drawn.seed_state().seed is None
    kept = plan(SetSeed(id="3", mode="fixed"), parameters=drawn).after
    assert (kept.seed_state().seed, kept.seed_state().mode) == (77, "fixed")


def timeline(**fields) -> SetTimeline:
    steps = (TimelineStep(at=0, text="a", transition="cut"), TimelineStep(at=5, text="b"))
    return SetTimeline(id="t", steps=steps, **fields)


def test_a_timeline_begins_with_the_chunk_that_takes_it():
    first = plan(timeline(), now=100)
    assert first.asked.prompts == (("a", 1.0),) and first.asked.reset
    assert plan(parameters=first.after, now=104).asked == ChunkParameters()
    second = plan(parameters=first.after, now=105)
    assert text(second.after) == "b" and not second.asked.reset
    state = second.after.timeline_state(107)
    assert state is not None and (state.position, state.step) == (7, 1)
    assert (state.loop, state.duration) == (False, None)
    state = plan(timeline(loop=True, duration=9), now=100).after.timeline_state(110.00049)
    assert (state.loop, state.duration, state.position, state.step) == (True, 9, 1.0, 0)
    assert state.steps == timeline().steps


def test_a_persons_prompt_wins_over_a_step_of_the_same_chunk_and_holds_until_the_next():
    playing = plan(timeline(), now=0).after
    made = plan(SetPrompt(id="1", text="mine"), parameters=playing, now=5)
    assert text(made.after) == "mine"
    assert plan(parameters=made.after, now=50).asked == ChunkParameters()


def test_a_timeline_that_comes_after_a_prompt_begins_with_its_own():
    assert text(plan(SetPrompt(id="1", text="mine"), timeline()).after) == "a"
    assert text(plan(timeline(), SetPrompt(id="1", text="mine")).after) == "mine"


def test_a_stopped_timeline_leaves_its_prompt():
    playing = plan(timeline(), now=0).after
    stopped = plan(StopTimeline(id="1"), parameters=playing, now=9)
    assert text(stopped.after) == "a" and stopped.after.timeline_state(9) is None


def test_a_step_that_the_model_refuses_is_passed_over():
    playing = plan(timeline(), now=0).after
    assert plan(parameters=playing, now=6).asked.prompts == (("b", 1.0),)
    assert plan(parameters=playing.without_due_step(6), now=6).asked == ChunkParameters()
    assert CLAY.without_due_step(6) is CLAY


TRANSITIONS = st.sampled_from(["recache", "cut", "blend"])
STEPS = st.tuples(TRANSITIONS, TRANSITIONS).map(
    lambda ways: (
        TimelineStep(at=0, text="a", transition=ways[0]),
        TimelineStep(at=5, text="b", transition=ways[1]),
    )
)
COMMANDS = st.one_of(
    TRANSITIONS.map(lambda way: SetPrompt(id="1", text="gold", transition=way)),
    STEPS.map(lambda steps: SetTimeline(id="2", steps=steps)),
    st.just(StopTimeline(id="3")),
    st.just(Reset(id="4", seed=1)),
    st.just(SetSeed(id="5", mode="random")),
)


@example(
    [
        SetPrompt(id="1", text="gold"),
        SetTimeline(id="2", steps=(TimelineStep(at=0, text="a"),)),
        StopTimeline(id="3"),
    ],
    None,
    0.0,
    False,
)
@given(st.lists(COMMANDS, max_size=4), st.none() | STEPS, st.sampled_from([0.0, 4.0, 6.0]), st.booleans())
def test_law_a_recache_is_known_without_a_plan(commands, steps, now, has_begun):
    timeline = None if steps is None else Timeline(steps, 0.0, begun=int(has_begun))
    parameters = replace(CLAY, timeline=timeline)
    asked = plan(*commands, parameters=parameters, now=now).asked
    expected = asked.prompts if asked.recaches else None
    assert parameters.recached_next(commands, now) == expected


def test_another_orientation_is_a_reset_in_it_that_fits_what_was_uploaded_anew():
    shown = replace(CLAY, references=("a", "b"), mask="m", seed_mode="random")
    made = plan(SetShape(id="1", orientation="upright"), parameters=shown)
    asked = made.asked
    assert (asked.orientation, asked.reset, asked.seed, asked.fit) == ("upright", True, 77, None)
    assert len(asked.references) == 2 and asked.references[0] is IMAGES["a"] and asked.mask is IMAGES["m"]
    assert made.after == replace(shown, orientation="upright", current_seed=77)


def test_what_is_set_with_a_turn_wins_over_what_was():
    shown = replace(CLAY, references=("a",), mask="m")
    commands = [
        SetMask(id="1", image=None),
        SetShape(id="2", orientation="upright"),
        SetReferences(id="3", images=()),
    ]
    made = plan(*commands, parameters=shown)
    assert made.asked.mask is CLEAR and made.asked.references is CLEAR
    reset_too = plan(Reset(id="1", seed=9), SetShape(id="2", orientation="upright"))
    assert reset_too.asked.seed == reset_too.after.current_seed == 9


def test_the_same_orientation_and_another_fit_reset_nothing():
    made = plan(SetShape(id="1", orientation="wide", fit="fit"))
    assert made.asked == ChunkParameters(fit="fit") and made.after == replace(CLAY, fit="fit")


def test_a_mask_is_fitted_anew_as_the_camera_is():
    shown = replace(CLAY, references=("a",), mask="m")
    made = plan(SetShape(id="1", fit="fit"), parameters=shown)
    assert made.asked.mask is IMAGES["m"] and made.asked.references is None and not made.asked.reset
    again = plan(SetShape(id="1", fit="fit"), parameters=made.after)
    assert again.asked == ChunkParameters(fit="fit"), "it is so already"


@pytest.mark.parametrize(("orientation", "recaches"), [("upright", False), ("wide", True), (None, True)])
def test_a_turned_stream_has_no_window_to_recache(orientation, recaches):
    commands = [SetPrompt(id="1", text="gold"), SetShape(id="2", orientation=orientation)]
    assert (CLAY.recached_next(commands, 0.0) is not None) is recaches
    assert plan(*commands).asked.recaches is recaches


def test_the_size_is_the_models_or_that_turned_and_told():
    assert CLAY.size is None and (CLAY.shape_state().width, CLAY.shape_state().height) == (None, None)
    known = CLAY.of_model(INFO)
    assert known.size == (INFO.width, INFO.height)
    turned = replace(known, orientation="upright")
    assert turned.size == (INFO.height, INFO.width)
    assert (turned.shape_state().width, turned.shape_state().height) == turned.size


def test_a_session_that_comes_to_a_model_that_cannot_turn_is_wide():
    turned = replace(CLAY, orientation="upright")
    assert turned.of_model(INFO).orientation == "upright"
    assert turned.of_model(replace(INFO, can_turn=False)).orientation == "wide"


def test_a_latency_that_is_chosen_before_the_model_is_known_waits_for_its_steps():
    begun = Parameters.of("clay", 3).begun_with([SetLatency(id="1", level="lower")])
    assert (begun.latency, begun.steps) == ("lower", None)
    assert len(replace(begun, own_steps=(1000, 750, 500, 250)).at("lower").steps) == 2
