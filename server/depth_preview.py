"""The depth that the model was given, small enough to travel with the figures."""

import base64
import io

from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

MAX_BYTES = 4096  # of the whole data: URL
QUALITIES = (70, 45, 25, 10)
HEAD = "data:image/jpeg;base64,"


def depth_preview(depth: NDArray[uint8] | None) -> str | None:
    """(H, W) uint8, near = 255, as the data: URL of a grey JPEG; None if MAX_BYTES do not suffice."""
    if depth is None:
        return None
    image = Image.fromarray(depth)
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        url = HEAD + base64.b64encode(file.getvalue()).decode()
        if len(url) <= MAX_BYTES:
            return url
    return None
