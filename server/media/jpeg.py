"""Camera frames and generated pictures as single JPEGs. Milliseconds each: call these in a thread."""

import io
from fractions import Fraction

import numpy as np
from av import VideoFrame
from PIL import Image

from server.media.coded_size import check_camera_size
from server.media.images import DECODE_ERRORS, ImageRejected, reason_of
from server.media.metadata import upright, without_metadata
from server.protocol.requests import Quality

QUALITIES: dict[Quality, int] = {"low": 55, "medium": 75, "high": 88}
MICROSECOND = Fraction(1, 1_000_000)


def decode_jpeg(data: bytes, timestamp_us: int) -> VideoFrame:
    """A camera frame, taken at `timestamp_us` on any clock, upright. Raises ImageRejected."""
    try:
        pixels, orientation = without_metadata(data)
        with Image.open(io.BytesIO(pixels), formats=("JPEG",)) as image:
            check_camera_size(image.size)  # from the header: no pixel has been decoded yet
            rgb = np.asarray(upright(image.convert("RGB"), orientation))
            frame = VideoFrame.from_ndarray(rgb, format="rgb24")
    except DECODE_ERRORS as error:
        raise ImageRejected(f"no JPEG that can be read{reason_of(error)}") from error
    frame.pts, frame.time_base = timestamp_us, MICROSECOND
    return frame


def encode_jpeg(frame: VideoFrame, quality: Quality) -> bytes:
    """An RGB frame as JPEG."""
    data = io.BytesIO()
    Image.fromarray(frame.to_ndarray(format="rgb24", threads=1)).save(
        data, "JPEG", quality=QUALITIES[quality]
    )
    return data.getvalue()


def microseconds(frame: VideoFrame) -> int:
    """The frame's pts, which it must have."""
    return round(frame.time * 1_000_000)
