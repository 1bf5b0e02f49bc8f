"""Conversions of pictures start no threads of their own.

PyAV keeps a converter with its frame or with the thread that it ran in, and a converter that may choose has
as many threads as there are processors: in a pool of 20 threads on 16 processors, 300 that nobody ends.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

from server.media.frames import beside, filling, to_rgb, to_video_frame
from server.media.jpeg import encode_jpeg
from server.media.rtp_decoder import kept
from server.media.vp8 import Vp8Encoder

RGB = np.zeros((480, 832, 3), np.uint8)  # too large to be converted in one thread for its size

USES: dict[str, tuple[str, Callable[[VideoFrame], object]]] = {
    "VP8": ("rgb24", lambda frame: Vp8Encoder().encode(frame, 500_000, key=True)),
    "JPEG": ("yuv420p", lambda frame: encode_jpeg(frame, "low")),
    "a camera's frame that is kept": ("yuv444p", kept),
    "the model's input": ("yuv420p", lambda frame: to_rgb([frame])),
    "a filled picture": ("yuv420p", lambda frame: filling(frame, (256, 144))),
    "side by side": ("yuv420p", lambda frame: beside(frame, RGB)),
}


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("use", USES)
def test_law_a_conversion_has_no_threads_of_its_own(use):
    format, convert = USES[use]
    frame = to_video_frame(RGB, pts=0).reformat(format=format, threads=1)
    before = threads()
    result = convert(frame)
    assert threads() == before
    del result  # whatever has threads has lived until here
