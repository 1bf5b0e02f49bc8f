"""Control videos: what VACE's branch is shown of a chunk's controls, and how strongly it counts.

A control video has three channels, and each shows one control. Hints of several videos are added, each with
its own scale; within a video a channel that counts less is drawn with less contrast, since 0, mid-grey, says
nothing. So a model that was trained on one control a video (VACE as published) takes any number of them at
the price of a pass of the branch each, and one that was trained on all of them in one pays nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming.api import CONTROLS, DEFAULT_SCALE, MAX_SCALE, ControlName
from streaming.config import ConfigError

Channels = tuple[ControlName, ControlName, ControlName]
Layout = tuple[Channels, ...]  # the videos of a model; every control is in one of them

SEPARATE: Layout = tuple((name, name, name) for name in CONTROLS)


@dataclass(frozen=True, slots=True, eq=False)
class ControlVideo:
    """One control video of one chunk. Raises ValueError for a scale that cannot be used."""

    picture: Tensor  # (B, 1 or 3, T, H, W) in [-1, 1]; one channel stands for three
    scale: float  # 0 ... MAX_SCALE: strength of its hints
    name: str = "depth"  # for messages

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= MAX_SCALE:  # False for NaN, too
            raise ValueError(f"scale of {self.name} must be 0 ... {MAX_SCALE:g}, got {self.scale}")


def check_layout(layout: Layout, model: str) -> None:
    """Raises ConfigError unless each control is shown by exactly one video."""
    for name in CONTROLS:
        if (count := sum(name in channels for channels in layout)) != 1:
            raise ConfigError(f"control videos of {model} must show {name} in exactly one, got {count}")


def control_videos(
    layout: Layout, pictures: Mapping[ControlName, Tensor], strengths: Mapping[ControlName, float]
) -> tuple[ControlVideo | None, ...]:
    """The videos of `layout` for one chunk; None where none of a video's controls has a picture.

    `pictures` (T, H, W) in [-1, 1], of those controls that are on; `strengths` 0 ... MAX_SCALE. A video's
    scale is the largest strength in it, and its other channels are weaker in proportion.
    """
    return tuple(_video(channels, pictures, strengths) for channels in layout)


def depth_alone(layout: Layout, depth: Tensor) -> tuple[ControlVideo | None, ...]:
    """The videos of `layout` up to that of `depth` (B, 1 or 3, T, H, W), which shows nothing else."""
    place = next(index for index, channels in enumerate(layout) if "depth" in channels)
    channels = layout[place]
    if set(channels) != {"depth"} and depth.ndim == 5:  # of another shape it is refused where it is encoded
        first = depth[:, :1]
        depth = torch.cat([first if name == "depth" else torch.zeros_like(first) for name in channels], 1)
    return (*[None] * place, ControlVideo(depth, DEFAULT_SCALE))


def _video(
    channels: Channels, pictures: Mapping[ControlName, Tensor], strengths: Mapping[ControlName, float]
) -> ControlVideo | None:
    shown: list[ControlName] = [name for name in CONTROLS if name in channels and name in pictures]
    if not shown:
        return None
    scale = max(strengths[name] for name in shown)
    if len(set(channels)) == 1:  # three equal channels
        return ControlVideo(pictures[shown[0]][None, None], scale, shown[0])
    drawn = {name: pictures[name] * (strengths[name] / scale if scale else 1.0) for name in shown}
    silent = torch.zeros_like(drawn[shown[0]])
    picture = torch.stack([drawn.get(name, silent) for name in channels])
    return ControlVideo(picture[None], scale, "+".join(shown))
