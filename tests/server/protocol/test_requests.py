"""Each number and text of a command may be its limit, and nothing beyond; what is left out is as told."""

import pytest
from pydantic import BaseModel, ValidationError

from server.protocol.requests import (
    DepthPoint,
    GuidanceKey,
    Ping,
    PromptChange,
    Reset,
    SetCameraStart,
    SetControls,
    SetDepth,
    SetGuidance,
    SetLatency,
    SetMask,
    SetOutput,
    SetPrompt,
    SetReferences,
    SetRegion,
    SetSeed,
    SetSteps,
    SetTimeline,
    StartRecording,
    TimelineStep,
    WeightedPrompt,
)

DAY_S = 86_400.0
ID = "x" * 64
TEXT = "x" * 1000


def steps(count: int) -> tuple[TimelineStep, ...]:
    return tuple(TimelineStep(at=at, text="a") for at in range(count))


def keys(count: int) -> tuple[GuidanceKey, ...]:
    return tuple(GuidanceKey(at=at, scale=1) for at in range(count))


# Model, the other fields, the field, what it may be, what it may not be.
BOUNDS = [
    (Ping, {}, "id", ["1", ID], ["", ID + "x"]),
    (WeightedPrompt, {}, "text", ["a", TEXT], ["", " ", TEXT + "x"]),
    (WeightedPrompt, {"text": "a"}, "weight", [1e-9, 10.0], [0.0, 10.1]),
    (PromptChange, {}, "text", ["a", TEXT], ["", TEXT + "x"]),
    (PromptChange, {}, "prompts", [(WeightedPrompt(text="a"),) * n for n in (1, 8)],
     [(), (WeightedPrompt(text="a"),) * 9]),
    (PromptChange, {"text": "a"}, "chunks", [1, 32], [0, 33]),
    (PromptChange, {"text": "a"}, "transition", ["recache", "cut", "blend"], ["fade"]),
    (PromptChange, {"text": "a"}, "curve", ["linear", "slerp"], ["cubic"]),
    (TimelineStep, {"text": "a"}, "at", [0.0, DAY_S], [-0.1, DAY_S + 0.1]),
    (SetTimeline, {"id": "1"}, "steps", [steps(1), steps(64)], [(), steps(65), steps(2)[1:], steps(1) * 2]),
    (SetTimeline, {"id": "1", "steps": steps(3)}, "duration", [2.1, DAY_S], [2.0, DAY_S + 0.1]),
    (GuidanceKey, {"scale": 1.0}, "at", [0.0, DAY_S], [-0.1, DAY_S + 0.1]),
    (GuidanceKey, {"at": 0.0}, "scale", [0.0, 2.0], [-0.1, 2.1]),
    (SetGuidance, {"id": "1"}, "scale", [0.0, 2.0], [-0.1, 2.1, None]),
    (SetGuidance, {"id": "1", "scale": 1.0}, "adaptive", [0.0, 1.0], [-0.1, 1.1]),
    (SetGuidance, {"id": "1"}, "keyframes", [keys(1), keys(64)], [(), keys(65), keys(1) * 2]),
    (SetGuidance, {"id": "1", "keyframes": keys(2)}, "loop", [True, False], [1]),
    (SetGuidance, {"id": "1", "keyframes": keys(1)}, "loop", [False], [True]),
    *[(DepthPoint, {"x": 0.0, "y": 0.0, "value": 0.0}, name, [0.0, 1.0], [-0.1, 1.1])
      for name in ("x", "y", "value")],
    *[(SetDepth, {"id": "1"}, name, [0.0, 1.0, None], [-0.1, 1.1]) for name in ("smoothing", "refinement")],
    (SetDepth, {"id": "1"}, "points", [(), (DepthPoint(x=0, y=0, value=0),) * 64],
     [(DepthPoint(x=0, y=0, value=0),) * 65]),
    *[(SetControls, {"id": "1"}, name, [0.0, 2.0, None], [-0.1, 2.1]) for name in ("gray", "lines")],
    (SetReferences, {"id": "1"}, "images", [(), (ID,) * 3], [("a",) * 4, ("",), (ID + "x",)]),
    (SetMask, {"id": "1"}, "image", [ID, None], ["", ID + "x"]),
    (SetRegion, {"id": "1"}, "distance", [0.0, 1.0, None], [-0.1, 1.1]),
    (SetRegion, {"id": "1", "distance": 0.5}, "side", ["near", "far"], ["left"]),
    (SetRegion, {"id": "1", "distance": 0.5}, "softness", [0.0, 1.0], [-0.1, 1.1, None]),
    (SetCameraStart, {"id": "1"}, "noise_scale", [1e-9, 1.0, None], [0.0, 1.1]),
    (SetPrompt, {"id": "1", "text": "a", "transition": "cut"}, "picture", [ID, None], ["", ID + "x"]),
    (SetPrompt, {"id": "1", "text": "a"}, "picture", [None], [ID]),
    (SetPrompt, {"id": "1", "text": "a", "transition": "blend"}, "picture", [None], [ID]),
    (Reset, {"id": "1"}, "picture", [ID, None], ["", ID + "x"]),
    (SetSteps, {"id": "1"}, "steps", [(1,), (1000, 1), (8, 7, 6, 5, 4, 3, 2, 1), None],
     [(), (0,), (1001,), (1, 2), (2, 2), (9, 8, 7, 6, 5, 4, 3, 2, 1)]),
    (SetLatency, {"id": "1"}, "level", ["standard", "low", "lower", "lowest"], ["best", "", None, 2]),
    (SetSeed, {"id": "1", "mode": "fixed"}, "seed", [0, 2**63 - 1, None], [-1, 2**63]),
    (SetSeed, {"id": "1", "mode": "random"}, "seed", [None], [0]),
    (Reset, {"id": "1"}, "seed", [0, 2**63 - 1, None], [-1, 2**63]),
    (SetOutput, {"id": "1"}, "fps", [1.0, 60.0, None], [0.9, 60.1]),
    (SetOutput, {"id": "1"}, "quality", ["low", "medium", "high", None], ["best"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "others", "field", "may_be", "may_not_be"),
    BOUNDS,
    ids=[f"{model.__name__}.{field}" for model, _, field, *_ in BOUNDS],
)
def test_law_a_field_may_be_its_limit_and_nothing_beyond(model, others, field, may_be, may_not_be):
    for value in may_be:
        assert getattr(model.model_validate(others | {field: value}), field) == value
    for value in may_not_be:
        with pytest.raises(ValidationError):
            model.model_validate(others | {field: value})


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (WeightedPrompt(text="a"), {"weight": 1.0}),
        (
            SetPrompt(id="1", text="a"),
            {"prompts": None, "transition": "recache", "chunks": 4, "curve": "slerp"},
        ),
        (SetTimeline(id="1", steps=steps(1)), {"loop": False, "duration": None}),
        (SetGuidance(id="1", scale=1), {"adaptive": 0.0, "keyframes": None, "loop": False}),
        (SetDepth(id="1"), {"enabled": None, "smoothing": None, "refinement": None, "points": None}),
        (SetControls(id="1"), {"gray": None, "lines": None}),
        (SetSeed(id="1", mode="fixed"), {"seed": None}),
        (SetRegion(id="1", distance=0.5), {"side": "near", "softness": 0.1}),
        (SetCameraStart(id="1"), {"noise_scale": None, "follows_motion": None}),
        (Reset(id="1"), {"seed": None, "picture": None}),
        (StartRecording(id="1"), {"side_by_side": False}),
        (SetOutput(id="1"), {"fps": None, "quality": None}),
    ],
)
def test_what_is_left_out_is_as_told(command: BaseModel, defaults):
    assert {name: getattr(command, name) for name in defaults} == defaults


def test_a_text_alone_is_one_prompt_of_the_usual_weight():
    assert SetPrompt(id="1", text="gold").weighted == (WeightedPrompt(text="gold", weight=1.0),)
    two = (WeightedPrompt(text="gold", weight=2), WeightedPrompt(text="ice"))
    assert SetPrompt(id="1", prompts=two).weighted == two
    for nothing_or_both in ({}, {"text": "a", "prompts": two}):
        with pytest.raises(ValidationError):
            SetPrompt(id="1", **nothing_or_both)


def test_a_loop_needs_its_length():
    with pytest.raises(ValidationError, match="needed to loop"):
        SetTimeline(id="1", steps=steps(2), loop=True)
    assert SetTimeline(id="1", steps=steps(2), loop=True, duration=1.5).loop


def test_law_a_message_never_changes():
    """It is compared, remembered and applied later than it came."""
    command = SetPrompt(id="1", text="gold")
    with pytest.raises(ValidationError, match="frozen"):
        command.id = "2"  # pyright: ignore[reportAttributeAccessIssue]
