"""Preview of the depth that the model was given, small enough to travel with the figures."""

import asyncio
import base64
import io

from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

MAX_BYTES = 4096  # of the whole data: URL
QUALITIES = (70, 45, 25, 10)
HEAD = "data:image/jpeg;base64,"


class DepthPreview:
    """Encodes a stream's depth, each chunk's at most once."""

    def __init__(self) -> None:
        self._depth: NDArray[uint8] | None = None
        self._url: str | None = None

    async def of(self, depth: NDArray[uint8] | None) -> str | None:
        """The newest depth, as `encode_preview` gives it in a thread: it takes milliseconds."""
        if depth is not self._depth:
            self._url = None if depth is None else await asyncio.to_thread(encode_preview, depth)
            self._depth = depth
        return self._url


def encode_preview(depth: NDArray[uint8]) -> str | None:
    """(H, W) uint8, near = 255, as the data: URL of a grey JPEG; None if MAX_BYTES do not suffice."""
    image = Image.fromarray(depth)
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        url = HEAD + base64.b64encode(file.getvalue()).decode()
        if len(url) <= MAX_BYTES:
            return url
    return None
