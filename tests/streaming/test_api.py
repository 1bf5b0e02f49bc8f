import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest

import streaming.api
from streaming.api import (
    CLEAR,
    CameraStart,
    ChunkParameters,
    DepthSettings,
    DistanceRegion,
    LatencyLevel,
    sampling_at,
)

PICTURE = np.zeros((4, 6, 3), np.uint8)


def test_law_it_is_there_without_torch() -> None:
    """A server imports it while the models are still loading, in a process that must answer meanwhile."""
    code = "import sys, streaming.api; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"prompts": ()}, "prompts must be 1 to 8, got 0"),
        ({"prompts": (("a", 1.0),) * 9}, "got 9"),
        ({"prompts": (("a", 1.0), ("b", -1.0))}, r"prompts\[1\].weight must be .* 0 or more, got -1"),
        ({"prompts": (("a", float("inf")),)}, r"prompts\[0\].weight must be a finite number"),
        ({"transition": "fade"}, "transition must be .* got 'fade'"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be 0 ... 2, got nan"),
        ({"guidance_scale": 2.1}, "guidance_scale must be 0 ... 2, got 2.1"),
        ({"controls": (("edges", 1.0),)}, r"controls\[0\] must be one of depth, gray, lines, got 'edges'"),
        ({"controls": (("gray", 1.0), ("lines", float("nan")))}, r"controls\[1\].* of lines must be 0 ... 2"),
        ({"controls": (("gray", -0.1),)}, "strength of gray must be 0 ... 2, got -0.1"),
        ({"controls": (("gray", 2.5),)}, "got 2.5"),
        ({"controls": (("gray", 1.0), ("gray", 1.0))}, r"controls\[1\] names gray again"),
        ({"controls": (("gray", 1.0),) * 4}, "controls must be at most 3, got 4"),
        (
            {"controls": (("depth", 1.0),), "guidance_scale": 0.5},
            "guidance_scale is the strength of depth: .* got 0.5 and controls with depth at 1.0",
        ),
        ({"adaptive": 1.5}, "adaptive must be 0 ... 1, got 1.5"),
        ({"blend_chunks": 40}, "blend_chunks must be 1 ... 32, got 40"),
        ({"blend_chunks": 0}, "blend_chunks must be 1 ... 32, got 0"),
        ({"blend_chunks": 2.0}, "blend_chunks must be 1 ... 32, got 2.0"),
        ({"blend_chunks": True}, "blend_chunks must be 1 ... 32, got True"),
        ({"guidance_scale": -0.1}, "guidance_scale must be 0 ... 2, got -0.1"),
        ({"adaptive": -0.1}, "adaptive must be 0 ... 1, got -0.1"),
        ({"references": (PICTURE[:0],)}, r"references\[0\] must be \(H, W, 3\) uint8, got \(0, 6, 3\)"),
        ({"mask": np.zeros((4, 4, 1, 1), np.uint8)}, r"mask must be .* got \(4, 4, 1, 1\)"),
        ({"orientation": "high"}, "orientation must be wide or upright, got 'high'"),
        ({"fit": "stretch"}, "fit must be fill or fit, got 'stretch'"),
        ({"blend_curve": "cubic"}, "blend_curve must be linear or slerp, got 'cubic'"),
        ({"steps": (250, 1000)}, r"steps must be 1 to 8 that fall within 1000 ... 1.* got \[250, 1000\]"),
        ({"steps": tuple(range(900, 0, -100))}, "steps must be 1 to 8"),
        ({"steps": ()}, "steps must be 1 to 8 .* or CLEAR, got"),
        ({"references": ()}, "references must be 1 to 3 pictures or CLEAR, got 0"),
        ({"references": (PICTURE,) * 4}, "1 to 3 pictures or CLEAR, got 4"),
        ({"references": (PICTURE, PICTURE[..., 0])}, r"references\[1\] must be \(H, W, 3\)"),
        ({"references": (PICTURE / 255,)}, r"references\[0\] .* float64"),
        ({"first_picture": PICTURE[..., :1]}, r"first_picture must be \(H, W, 3\) uint8, got \(4, 6, 1\)"),
        ({"first_picture": PICTURE / 255}, r"first_picture must be .* float64"),
        ({"mask": np.zeros((4, 4, 4), np.uint8)}, r"mask must be .* got \(4, 4, 4\)"),
        ({"mask": np.zeros((0, 4), np.uint8)}, r"mask must be .* got \(0, 4\)"),
        ({"mask": np.zeros((4, 4), np.float32)}, "float32"),
    ],
)
def test_what_cannot_be_asked_is_named(asked: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ChunkParameters(**asked)  # type: ignore[arg-type]


def test_what_is_not_asked_for_is_as_it_was() -> None:
    """The defaults that a stream, the wire and the page begin with."""
    asked = ChunkParameters()
    assert (asked.transition, asked.blend_chunks, asked.blend_curve) == ("recache", 4, "slerp")
    given = asked.prompts, asked.guidance_scale, asked.adaptive, asked.depth, asked.references
    assert given == (None,) * 5 and (asked.mask, asked.steps, asked.seed) == (None,) * 3 and not asked.reset
    depth = DepthSettings()
    assert (depth.enabled, depth.smoothing, depth.refinement, depth.points) == (True, 0.0, 0.0, ())
    assert (streaming.api.DEFAULT_SCALE, streaming.api.DEFAULT_ADAPTIVE) == (1.0, 0.0)


def test_limits_and_lengths_are_those_that_clients_are_told() -> None:
    wanted = {
        "FIRST_CHUNK": 9,
        "CHUNK": 12,
        "MAX_PROMPTS": 8,
        "MAX_PROMPT_LENGTH": 1000,
        "MAX_STEPS": 8,
        "MAX_REFERENCES": 3,
        "MAX_SCALE": 2.0,
        "MAX_BLEND_CHUNKS": 32,
        "MAX_POINTS": 64,
        "MAX_SEED": 2**63 - 1,
        "MAX_TIMESTEP": 1000,
    }
    assert {name: getattr(streaming.api, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((0.0,), "noise_scale must be above 0 ... 1, got 0.0"),
        ((1.1,), "noise_scale must be above 0 ... 1, got 1.1"),
        ((float("nan"),), "noise_scale must be above 0 ... 1, got nan"),
        ((0.1, "published"), "noise_scale must be above 0.1 ... 1 with formula published, got 0.1"),
        ((0.8, "public"), "formula must be exact or published, got 'public'"),
    ],
)
def test_a_start_from_the_camera_that_cannot_be_is_named(given: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CameraStart(*given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((float("nan"),), "distance region distance: expected 0 ... 1, got nan"),
        ((-0.1,), "distance region distance: expected 0 ... 1, got -0.1"),
        ((0.5, "near", 1.5), "distance region softness: expected 0 ... 1, got 1.5"),
        ((0.5, "left"), "distance region side: expected near or far, got 'left'"),
    ],
)
def test_a_distance_region_that_cannot_be_is_named(given: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DistanceRegion(*given)


def test_what_can_be_asked_at_the_limits_is_taken() -> None:
    ChunkParameters(
        prompts=(("a", 0.0),) * 8,
        blend_chunks=32,
        guidance_scale=2.0,
        controls=(("depth", 2.0), ("gray", 0.0), ("lines", 2.0)),
        adaptive=1.0,
        references=(PICTURE,) * 3,
        mask=PICTURE,
        steps=(1000, 7, 6, 5, 4, 3, 2, 1),
    )
    ChunkParameters(references=CLEAR, mask=CLEAR, steps=CLEAR, guidance_scale=0.0, blend_chunks=1)


@pytest.mark.parametrize(
    ("asked", "starts_over", "recaches", "is_switch"),
    [
        ({}, False, False, False),
        ({"reset": True}, True, False, True),
        ({"prompts": (("a", 1.0),)}, False, True, True),
        ({"prompts": (("a", 1.0),), "reset": True}, True, False, True),
        ({"prompts": (("a", 1.0),), "transition": "cut"}, True, False, True),
        ({"prompts": (("a", 1.0),), "transition": "blend"}, False, False, False),
        ({"transition": "cut"}, False, False, False),  # no prompt goes with it
    ],
)
def test_what_becomes_of_a_stream(
    asked: dict[str, object], starts_over: bool, recaches: bool, is_switch: bool
) -> None:
    parameters = ChunkParameters(**asked)  # type: ignore[arg-type]
    found = parameters.starts_over, parameters.recaches, parameters.is_switch
    assert found == (starts_over, recaches, is_switch)


FOUR = (1000, 750, 500, 250)


@pytest.mark.parametrize(
    ("own", "low", "lower"),
    [
        (FOUR, (1000, 750, 250), (1000, 500)),
        ((1000, 500), (1000,), (1000,)),
        ((1000,), (1000,), (1000,)),
        ((1000, 800, 600, 400, 200), (1000, 800, 400, 200), (1000, 600, 400)),
    ],
)
def test_law_a_lower_latency_has_a_step_less_of_the_models_own(
    own: tuple[int, ...], low: tuple[int, ...], lower: tuple[int, ...]
) -> None:
    """From its first, those nearest to even ones; one at least."""
    assert sampling_at("standard", own) == (CLEAR, 1.0)
    assert sampling_at("low", own) == (low, 1.0)
    assert sampling_at("lower", own) == (lower, 1.0)
    assert sampling_at("lowest", own) == (own[:1], 0.6)


@pytest.mark.parametrize("latency", get_args(LatencyLevel))
@pytest.mark.parametrize("count", range(1, 9))
def test_law_of_any_model_a_latency_is_something_that_may_be_asked(count: int, latency: LatencyLevel) -> None:
    steps, noise_scale = sampling_at(latency, tuple(range(1000, 1000 - 100 * count, -100)))
    ChunkParameters(steps=steps, camera_start=CameraStart(noise_scale))
