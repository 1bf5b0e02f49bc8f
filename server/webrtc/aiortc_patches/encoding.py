"""VP8 encoder of a sender that converts its pictures in the thread that encodes them.

aiortc's lets PyAV choose how many threads convert a picture to YUV. It takes as many as there are processors,
and keeps them with the frame, or from PyAV 19 on with each thread of the pool that has ever encoded.
"""

from typing import Any

import aiortc.codecs
from aiortc.codecs.vpx import Vp8Encoder
from av import VideoFrame
from av.frame import Frame

_module: Any = aiortc.codecs


class OneThreadVp8Encoder(Vp8Encoder):
    """As aiortc's."""

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        if isinstance(frame, VideoFrame) and frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p", threads=1)
        return super().encode(frame, force_keyframe)


def convert_in_one_thread() -> None:
    """For all senders of this process, from now on. Safe to call again."""
    _module.Vp8Encoder = OneThreadVp8Encoder
