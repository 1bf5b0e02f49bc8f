"""Conversions between av.VideoFrame and uint8 arrays. Rgb is always (H, W, 3) uint8, 0 to 255."""

import math
import textwrap
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias, cast

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from server.media.pacing import CLOCK_RATE_HZ
from streaming.api import DEFAULT_FIT, CameraFit

Rgb: TypeAlias = NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]  # width, height

MAX_CAMERA_PIXELS = 2560 * 1440  # a ring of 48 such frames is 265 MB
MAX_CAMERA_ASPECT = 8  # beyond this, scaling a frame to cover the picture makes it huge
NEUTRAL = (38, 42, 48)  # of the picture shown when there is no camera picture yet
STAMP_SHARE = 10  # the stamp covers one row in so many


def to_rgb(frames: Sequence[VideoFrame]) -> list[Rgb]:
    """Camera frames of any pixel format as RGB of their own sizes: the model scales them, on its device.

    Safe in any thread: a frame's own converter is not, and the same frame may be on its way to the screen.
    """
    converter = VideoReformatter()
    return [_converted(converter, frame, (frame.width, frame.height)) for frame in frames]


def to_video_frame(rgb: Rgb, pts: int) -> VideoFrame:
    """A frame for the encoder; `pts` in 1/90000 s."""
    frame = VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts = pts
    frame.time_base = Fraction(1, CLOCK_RATE_HZ)
    return frame


def filling(camera: VideoFrame, size: Size) -> Rgb:
    """A camera frame scaled and cropped to fill `size`. Safe in any thread."""
    return _crop(_converted(VideoReformatter(), camera, _cover(camera, size)), size)


def fitted(camera: VideoFrame, size: Size, fit: CameraFit) -> Rgb:
    """A camera frame as the model is shown it: `fill` crops it to `size`, `fit` has all of it between bars.
    Safe in any thread."""
    if fit == "fill":
        return filling(camera, size)
    inner = _within((camera.width, camera.height), size)
    return _with_bars(_converted(VideoReformatter(), camera, inner), size)


def letterboxed(rgb: Rgb, size: Size) -> Rgb:
    """All of a picture of any shape, as large as `size` has room for, between black bars."""
    inner = _within((rgb.shape[1], rgb.shape[0]), size)
    return _with_bars(np.asarray(Image.fromarray(rgb).resize(inner, Image.Resampling.BILINEAR)), size)


def beside(camera: VideoFrame | None, output: Rgb, fit: CameraFit = DEFAULT_FIT) -> Rgb:
    """The camera, fitted to the output's size, on the left of it; (H, 2 W, 3). Safe in any thread."""
    height, width, _ = output.shape
    if camera is None:
        left = np.full_like(output, NEUTRAL)
    else:
        left = fitted(camera, (width, height), fit)
    return np.concatenate((left, output), axis=1)


def with_note(camera: VideoFrame | None, size: Size, note: str, fit: CameraFit = DEFAULT_FIT) -> Rgb:
    """The camera fitted to `size`, or a neutral picture without one; a small note at the bottom."""
    if camera is None:
        image = Image.new("RGB", size, NEUTRAL)
    else:
        image = Image.fromarray(fitted(camera, size, fit))
    width, height = size
    font = _font(max(9, height // 16))
    line_height = round(font.size * 1.3)
    columns = max(8, int(width * 0.95 / font.getlength("n")))
    most_lines = max(1, height // 2 // line_height)
    lines = textwrap.wrap(note, columns, max_lines=most_lines, placeholder=" …")
    draw = ImageDraw.Draw(image, "RGBA")
    top = height - line_height * len(lines) - line_height // 3
    draw.rectangle((0, top, width, height), fill=(0, 0, 0, 160))
    for number, line in enumerate(lines):
        draw.text(
            (width / 2, top + line_height * (number + 0.65)),
            line,
            fill=(255, 255, 255),
            font=font,
            anchor="mm",
        )
    return np.asarray(image)


def stamp_source(generated: Rgb, sources: Sequence[Rgb]) -> Rgb:
    """Copy of `generated` (T, H, W, 3) whose top tenth is that of the camera frame behind each picture.

    The last T of `sources` are the control frames. Lets a machine-readable mark in the camera's picture
    survive generation, so that glass-to-glass latency can be read from pixels.
    """
    stamped = generated.copy()
    _, height, width, _ = generated.shape
    rows = height // STAMP_SHARE
    for picture, source in zip(stamped, sources[-len(stamped) :], strict=True):
        strip = Image.fromarray(source[: source.shape[0] // STAMP_SHARE])
        picture[:rows] = np.asarray(strip.resize((width, rows), Image.Resampling.BOX))
    return stamped


def is_usable(width: int, height: int) -> bool:
    """Whether a camera frame of this size may be kept and scaled: a peer chooses it, and memory is ours."""
    return width * height <= MAX_CAMERA_PIXELS and max(width, height) <= MAX_CAMERA_ASPECT * min(
        width, height
    )


def _converted(converter: VideoReformatter, frame: VideoFrame, size: Size) -> Rgb:
    width, height = size
    rgb = converter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
    return np.ascontiguousarray(cast(Rgb, rgb.to_ndarray()))


def _cover(frame: VideoFrame, size: Size) -> Size:
    """Size of the frame scaled to just cover `size`; even, as the converter is three times as slow with odd
    widths."""
    scale = max(size[0] / frame.width, size[1] / frame.height)
    width, height = max(size[0], frame.width * scale), max(size[1], frame.height * scale)
    return 2 * math.ceil(round(width) / 2), 2 * math.ceil(round(height) / 2)


def _crop(rgb: Rgb, size: Size) -> Rgb:
    """The middle `size` of a picture that covers it."""
    left, top = (rgb.shape[1] - size[0]) // 2, (rgb.shape[0] - size[1]) // 2
    return rgb[top : top + size[1], left : left + size[0]]


def _within(of: Size, size: Size) -> Size:
    """The largest size of the aspect `of` that lies in `size`."""
    scale = min(size[0] / of[0], size[1] / of[1])
    return max(1, round(of[0] * scale)), max(1, round(of[1] * scale))


def _with_bars(rgb: Rgb, size: Size) -> Rgb:
    """A picture in the middle of a black one of `size`, which has room for it."""
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    _crop(whole, (rgb.shape[1], rgb.shape[0]))[:] = rgb
    return whole


@lru_cache(maxsize=4)
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this build of Pillow lacks FreeType, which the notes in the picture need")
    return font
