"""Limits and defaults are those that the protocol enforces: nothing told here is a copy."""

import json
import re
from typing import Any

import pytest
from pydantic import Field, create_model

import server.protocol.limits as wire_limits
from server.app import page_directory
from server.protocol.codec import ProtocolError, decode
from server.protocol.http_models import Limits
from server.protocol.limits import defaults, limits
from server.protocol.replies import (
    CameraStartState,
    ControlsState,
    DepthState,
    GuidanceState,
    OutputState,
)
from server.protocol.requests import SetPrompt, SetReferences

TOLD = limits()
PROMPT = {"type": "prompt.set", "text": "gold"}
KEY = {"scale": 1}
POINT = {"x": 0, "y": 0, "value": 0}


def timeline(count: int, duration: float | None = None) -> dict[str, Any]:
    steps = [{"at": at, "text": "gold"} for at in range(count)]
    return {"type": "timeline.set", "steps": steps, "duration": duration}


def falling(first: int, count: int) -> dict[str, Any]:
    return {"type": "steps.set", "steps": [first - index for index in range(count)]}


# A command that carries `value` where a limit speaks of it.
CARRYING = {
    "prompt_length": lambda value: PROMPT | {"text": "x" * value},
    "prompts": lambda value: {"type": "prompt.set", "prompts": [{"text": "gold"}] * value},
    "prompt_weight": lambda value: {"type": "prompt.set", "prompts": [{"text": "gold", "weight": value}]},
    "blend_chunks": lambda value: PROMPT | {"chunks": value},
    "timeline_steps": lambda value: timeline(value),
    "timeline_seconds": lambda value: timeline(1, duration=value),
    "guidance_scale": lambda value: {"type": "guidance.set", "scale": value},
    "guidance_keyframes": lambda value: {
        "type": "guidance.set",
        "keyframes": [KEY | {"at": at} for at in range(value)],
    },
    "control_strength": lambda value: {"type": "controls.set", "gray": value, "lines": value},
    "depth_points": lambda value: {"type": "depth.set", "points": [POINT] * value},
    "references": lambda value: {"type": "references.set", "images": ["a"] * value},
    "steps": lambda value: falling(TOLD.timestep, value),
    "timestep": lambda value: falling(value, 1),
    "fps": lambda value: {"type": "output.set", "fps": value},
}


def test_every_limit_is_tried():
    assert set(CARRYING) == set(Limits.model_fields)


@pytest.mark.parametrize("name", CARRYING)
def test_the_limit_told_is_the_one_enforced(name):
    most = getattr(TOLD, name)
    decode(json.dumps(CARRYING[name](most) | {"id": "1"}))
    with pytest.raises(ProtocolError):
        decode(json.dumps(CARRYING[name](most + 1) | {"id": "1"}))


def test_a_changed_constant_is_told(monkeypatch):
    fewer = create_model(
        "Fewer", __base__=SetReferences, images=(tuple[str, ...], Field(max_length=TOLD.references - 1))
    )
    monkeypatch.setattr(wire_limits, "SetReferences", fewer)
    assert limits() == TOLD.model_copy(update={"references": TOLD.references - 1})


def test_a_field_without_a_bound_is_named(monkeypatch):
    endless = create_model("Endless", __base__=SetReferences, images=(tuple[str, ...], ...))
    monkeypatch.setattr(wire_limits, "SetReferences", endless)
    with pytest.raises(LookupError, match="Endless.images has no maxItems"):
        limits()


def test_the_defaults_told_are_those_of_a_prompt_that_leaves_them_out():
    guidance = GuidanceState(scale=0.5, adaptive=0.0, keyframes=None, loop=False)
    depth = DepthState(enabled=True, smoothing=0.25, refinement=0.0, points=())
    controls = ControlsState(gray=0.75, lines=0.0)
    start = CameraStartState(noise_scale=0.5, follows_motion=True)
    told = defaults(guidance, depth, controls, start, "low", OutputState())
    sent = decode(json.dumps(PROMPT | {"id": "1"}))
    assert isinstance(sent, SetPrompt)
    assert (told.transition, told.chunks, told.curve) == (sent.transition, sent.chunks, sent.curve)
    assert (told.guidance, told.depth, told.controls) == (guidance, depth, controls)
    assert (told.camera_start, told.latency) == (start, "low")


def test_the_page_uses_limits_that_are_told_and_has_none_beside_them():
    page = (page_directory() / "index.html").read_text(encoding="utf-8")
    modules = "\n".join(path.read_text(encoding="utf-8") for path in page_directory().rglob("*.js"))
    held = re.findall(r'data-limit="(\w+)"', page)
    asked = re.findall(r'\b(?:limit\(|holdTo\(\w+, )"(\w+)"', modules)
    assert len(held) >= 5 and len(asked) >= 5
    assert {*held, *asked} <= set(Limits.model_fields)
    for tag in re.findall(r"<(?:input|textarea)[^>]*data-limit[^>]*>", page):
        assert not re.search(r"\s(max|maxlength|value)=", tag), tag
    assert "maxlength" not in page and not re.search(r"maxLength: *\d", modules)
