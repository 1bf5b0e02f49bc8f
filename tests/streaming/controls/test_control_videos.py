"""Laws of control videos: what each channel shows, and how strengths become scales and contrast."""

import pytest
import torch
from torch import Tensor

from streaming.api import ControlName
from streaming.config import ConfigError
from streaming.controls.control_videos import (
    SEPARATE,
    ControlVideo,
    check_layout,
    control_videos,
    depth_alone,
)

PACKED = (("depth", "gray", "gray"), ("lines", "lines", "lines"))


def picture(salt: int) -> Tensor:
    return torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(salt)) * 2 - 1


PICTURES: dict[ControlName, Tensor] = {"depth": picture(1), "gray": picture(2), "lines": picture(3)}


def only(*names: ControlName) -> dict[ControlName, Tensor]:
    return {name: PICTURES[name] for name in names}


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 2.0])
def test_depth_alone_is_depth_bit_for_bit_at_every_strength(scale: float) -> None:
    """Of three equal channels, whose contrast never changes: the hints' scale alone does."""
    shown, *others = control_videos(SEPARATE, only("depth"), {"depth": scale, "gray": 0.0, "lines": 0.0})
    assert shown is not None and others == [None, None]
    assert torch.equal(shown.picture, PICTURES["depth"][None, None]) and shown.scale == scale


@pytest.mark.parametrize("count", [1, 3])
def test_depth_that_is_given_alone_says_nothing_in_the_channels_of_others(count: int) -> None:
    given = PICTURES["depth"][None, None].expand(-1, count, -1, -1, -1)
    (shown,) = depth_alone(PACKED, given)
    assert shown is not None and torch.equal(shown.picture[0, 0], PICTURES["depth"])
    assert shown.picture.shape == (1, 3, 9, 4, 6) and not shown.picture[0, 1:].any()
    (alone,) = depth_alone(SEPARATE, given)
    assert alone is not None and alone.picture is given
    apart = depth_alone((PACKED[1], PACKED[0]), given)
    assert apart[0] is None and apart[1] is not None, "in the place of its video"


def test_separate_videos_have_a_scale_each() -> None:
    strengths: dict[ControlName, float] = {"depth": 1.0, "gray": 0.4, "lines": 2.0}
    for name, video in zip(PICTURES, control_videos(SEPARATE, PICTURES, strengths), strict=True):
        assert video is not None and (video.scale, video.name) == (strengths[name], name)
        assert torch.equal(video.picture, PICTURES[name][None, None])


@pytest.mark.parametrize(
    ("depth", "gray", "scale", "gains"),
    [
        (1.0, 1.0, 1.0, (1.0, 1.0)),
        (1.5, 0.5, 1.5, (1.0, 0.5 / 1.5)),
        (0.5, 2.0, 2.0, (0.25, 1.0)),
        (0.0, 1.0, 1.0, (0.0, 1.0)),
    ],
)
def test_channels_of_one_video_are_weaker_than_the_strongest_in_proportion(
    depth: float, gray: float, scale: float, gains: tuple[float, float]
) -> None:
    video, none = control_videos(PACKED, only("depth", "gray"), {"depth": depth, "gray": gray, "lines": 1.0})
    assert none is None and video is not None and video.scale == scale
    first, second, third = video.picture[0]
    assert torch.equal(first, PICTURES["depth"] * gains[0])
    assert torch.equal(second, third) and torch.equal(second, PICTURES["gray"] * gains[1])


@pytest.mark.parametrize(("name", "channels"), [("depth", [0]), ("gray", [1, 2])])
def test_what_has_no_picture_says_nothing(name: ControlName, channels: list[int]) -> None:
    """Mid-grey, whatever its strength, which does not count for the others either."""
    video, _ = control_videos(PACKED, only(name), {"depth": 0.5, "gray": 0.5, "lines": 0.0} | {name: 0.25})
    assert video is not None and video.scale == 0.25 and video.name == name
    for channel in range(3):
        wanted = PICTURES[name] if channel in channels else torch.zeros(9, 4, 6)
        assert torch.equal(video.picture[0, channel], wanted)


def test_without_pictures_there_are_no_videos() -> None:
    assert control_videos(PACKED, {}, dict.fromkeys(PICTURES, 1.0)) == (None, None)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (SEPARATE[:2], "must show lines in exactly one, got 0"),
        ((*SEPARATE, ("gray", "gray", "depth")), "must show depth in exactly one, got 2"),
    ],
)
def test_a_model_shows_every_control_once(layout: tuple[tuple[ControlName, ...], ...], told: str) -> None:
    check_layout(SEPARATE, "tiny")
    check_layout(PACKED, "tiny")
    with pytest.raises(ConfigError, match=f"control videos of tiny {told}"):
        check_layout(layout, "tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [-0.1, 2.1, float("nan")])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=f"scale of gray must be 0 ... 2, got {scale}"):
        ControlVideo(PICTURES["gray"][None, None], scale, "gray")
