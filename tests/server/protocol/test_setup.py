"""Set-ups as JSON: what is taken, what is refused and in which words, and the schema of the file."""

import json
import re
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from server.protocol.codec import MAX_MESSAGE_BYTES
from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    GuidanceState,
    OutputState,
    SeedState,
    SessionSettings,
    ShapeState,
)
from server.protocol.requests import (
    Command,
    Pause,
    Reset,
    Resume,
    SetFreeze,
    SetGuidance,
    SetMask,
    SetOutput,
    SetReferences,
    SetShape,
    StartRecording,
    StopRecording,
    StopTimeline,
    WeightedPrompt,
)
from server.protocol.setup import (
    COMMANDS,
    MAX_ERRORS,
    MAX_SETUP_BYTES,
    Setup,
    SetupRefused,
    decode_setup,
    encode_setup,
    setup_of,
    setup_schema,
)

OF_THE_MOMENT = {Reset, SetFreeze, Pause, Resume, StartRecording, StopRecording}
WITH_A_SESSION = {SetReferences, SetMask, SetShape}  # their pictures were uploaded to it; its camera's shape
SETTINGS = SessionSettings(
    prompts=(WeightedPrompt(text="clay"),),
    transition=None,
    guidance=GuidanceState(scale=1.5, adaptive=0.25, keyframes=None, loop=False),
    depth=DepthState(enabled=True, smoothing=0.5, refinement=0.0, points=()),
    controls=ControlsState(gray=1.0, lines=0.0),
    references=(),
    mask=None,
    region=None,
    camera_start=CameraStartState(noise_scale=0.6, follows_motion=False),
    steps=(1000,),
    latency="lowest",
    shape=ShapeState(orientation="wide", fit="fill", width=None, height=None),
    seed=SeedState(mode="fixed", seed=3, current=4),
    frozen=True,
    paused=True,
    recording=True,
    timeline=None,
    output=OutputState(fps=None, quality="low"),
)
PROTOCOL = Path(__file__).parents[3] / "PROTOCOL.md"


def refused(setup: object) -> list[tuple[str, str, str]]:
    """Field, value and expectation of all that is wrong."""
    with pytest.raises(SetupRefused) as refusal:
        decode_setup(setup if isinstance(setup, str | bytes) else json.dumps(setup))
    return [(error.field, error.value, error.expected) for error in refusal.value.errors]


def test_law_every_command_is_part_of_a_set_up_or_of_a_moment_or_of_a_session():
    outside = OF_THE_MOMENT | WITH_A_SESSION | {StopTimeline}
    assert set(get_args(Command)) == {*COMMANDS.values(), *outside}
    assert list(COMMANDS) == [name for name in Setup.model_fields if name in COMMANDS], "one order"


def test_it_becomes_commands_in_an_order_in_which_none_undoes_another():
    parts = {
        "camera_start": {"noise_scale": 0.5},
        "steps": {"steps": [900]},
        "latency": {"level": "low"},
        "timeline": {"steps": [{"at": 0, "text": "gold"}]},
        "prompt": {"text": "clay"},
    }
    commands = decode_setup(json.dumps({"version": 1, **parts})).commands("x")
    assert [command.id for command in commands] == [
        "x-prompt",
        "x-timeline",
        "x-latency",
        "x-steps",
        "x-camera_start",
    ]
    assert [command.type for command in commands][:2] == ["prompt.set", "timeline.set"]


def test_what_is_left_out_asks_nothing_and_no_timeline_stops_the_one_that_plays():
    assert decode_setup(b'\xef\xbb\xbf{"version": 1}').commands("x") == ()
    assert decode_setup('{"version": 1, "timeline": null}').commands("x") == (StopTimeline(id="x-timeline"),)
    (output,) = decode_setup('{"version": 1, "output": {"fps": null}}').commands("x")
    assert isinstance(output, SetOutput) and "fps" in output.model_fields_set, "null is no limit"
    (guidance,) = decode_setup('{"version": 1, "guidance": {"scale": 1}}').commands("x")
    assert guidance == SetGuidance(id="x-guidance", scale=1.0)


def test_all_that_is_wrong_is_told_with_field_value_and_expectation():
    found = refused(
        {
            "version": 1,
            "guidance": {"scale": 9, "id": "g"},
            "prompt": {"text": "a", "transition": "cut", "picture": "p"},
            "depth": None,
            "seed": {},
            "steps": {"steps": [1, 2]},
            "timeline": {"steps": [{"at": 0, "text": ""}], "type": "timeline.set"},
            "looks": [],
            "controls": [],
        }
    )
    assert sorted(found) == [
        ("controls", "[]", "an object with the fields of controls.set, but type and id"),
        ("depth", "null", "an object with the fields of depth.set, but type and id"),
        ("guidance.id", "g", "no such field in guidance"),
        ("guidance.scale", "9", "a number from 0 to 2"),
        ("looks", "[]", "no such part of a set-up"),
        ("prompt.picture", "p", "no such field in prompt"),
        ("seed.mode", "null", '"fixed" or "random"'),
        ("steps.steps", "[1, 2]", "a list of 1 to 8 falling integers from 1 to 1000, or null"),
        ("timeline.steps[0].text", "", "1 to 1000 characters, not only spaces"),
        ("timeline.type", "timeline.set", "no such field in timeline"),
    ]


@pytest.mark.parametrize("version", [2, 10**30, True, 1.0, "1", None])
def test_of_another_version_only_that_is_told(version):
    (error,) = refused({"version": version, "guidance": {"scale": 9}})
    assert error[0] == "version" and error[2] == "1, the newest that is known here"


@pytest.mark.parametrize("raw", ["", "[]", "null", "{", "[" * 5000, b"\xff", '{"a": NaN}', '{"a": "\ud800"}'])
def test_what_is_no_json_object_is_refused(raw):
    (error,) = refused(raw)
    assert error[0] == "setup" and error[2] == "a set-up: a JSON object with version"


def test_it_is_bounded_as_a_whole_and_each_part_as_its_command_is():
    (whole,) = refused(" " * (MAX_SETUP_BYTES + 1))
    assert whole == ("setup", f"{MAX_SETUP_BYTES + 1} bytes", f"at most {MAX_SETUP_BYTES} bytes")
    step = {"prompts": [{"text": "x" * 1000}]}
    steps = [{"at": at, **step} for at in range(40)]
    (part,) = refused({"version": 1, "timeline": {"steps": steps}})
    assert part[0] == "timeline" and part[2] == f"at most {MAX_MESSAGE_BYTES} bytes"


def test_of_many_errors_some_are_told_and_all_counted():
    points = [{"x": 2, "y": 2, "value": 2}] * 60
    with pytest.raises(SetupRefused, match=f"and {180 - MAX_ERRORS} more$") as refusal:
        decode_setup(json.dumps({"version": 1, "depth": {"points": points}}))
    assert len(refusal.value.errors) == MAX_ERRORS


def test_what_is_in_effect_is_whole_but_what_belongs_to_a_moment_or_follows_from_the_latency():
    assert json.loads(encode_setup(setup_of(SETTINGS))) == {
        "version": 1,
        "prompt": {"prompts": [{"text": "clay", "weight": 1.0}]},
        "timeline": None,
        "latency": {"level": "lowest"},
        "camera_start": {"follows_motion": False},
        "guidance": {"scale": 1.5, "adaptive": 0.25},
        "depth": {"enabled": True, "smoothing": 0.5, "refinement": 0.0, "points": []},
        "controls": {"gray": 1.0, "lines": 0.0},
        "region": {"distance": None},
        "seed": {"mode": "fixed", "seed": 3},
        "output": {"fps": None, "quality": "low"},
    }
    own = SETTINGS.model_copy(update={"latency": None, "references": ("a",), "mask": "b"})
    told = json.loads(encode_setup(setup_of(own)))
    assert told["steps"] == {"steps": [1000]} and told["camera_start"]["noise_scale"] == 0.6
    assert "latency" not in told and told["without"] == ["references", "mask"]


def test_a_prompt_of_the_server_that_no_command_could_carry_is_left_out():
    blank = SETTINGS.model_copy(update={"prompts": (WeightedPrompt.model_construct(text=" ", weight=1.0),)})
    assert setup_of(blank).prompt is None


def test_a_pages_own_part_is_taken_as_it_is():
    setup = decode_setup('{"version": 1, "page": {"mirror": true, "x": [{"y": null}]}}')
    assert setup.page == {"mirror": True, "x": [{"y": None}]} and setup.commands("x") == ()


def test_the_schema_takes_what_is_taken_and_refuses_what_is_refused():
    schema = jsonschema.Draft202012Validator(setup_schema())
    schema.check_schema(setup_schema())
    for taken in (json.loads(encode_setup(setup_of(SETTINGS))), {"version": 1, "prompt": {"text": "clay"}}):
        schema.validate(taken)
        decode_setup(json.dumps(taken))
    for wrong in (
        {},
        {"version": 2},
        {"version": 1, "guidance": {"scale": 9}},
        {"version": 1, "guidance": {"scale": 1, "id": "a"}},
        {"version": 1, "depth": None},
        {"version": 1, "prompt": {"text": "a", "picture": "b"}},
        {"version": 1, "looks": []},
    ):
        assert not schema.is_valid(wrong), wrong
        refused(wrong)


def test_the_page_knows_the_same_parts_in_the_same_order():
    page = Path(__file__).parents[3] / "client_web" / "session" / "setup_file.js"
    found = re.search(r"export const PARTS = (\[.*\]);", page.read_text(encoding="utf-8"))
    assert found is not None and json.loads(found[1]) == list(COMMANDS)


def test_the_example_of_the_protocol_is_a_set_up():
    part = (
        PROTOCOL.read_text(encoding="utf-8").partition("\n## A set-up as one JSON\n")[2].partition("\n## ")[0]
    )
    (example,) = re.findall(r"```json\n(.*?)\n```", part, re.DOTALL)
    assert decode_setup(example).commands("x")
