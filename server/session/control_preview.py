"""Preview of a control as the model was given it, small enough to travel with the figures."""

import asyncio
import base64
import io

from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

MAX_BYTES = 4096  # of the whole data: URL
QUALITIES = (70, 45, 25, 10)
HEAD = "data:image/jpeg;base64,"


class ControlPreview:
    """Encodes one control of a stream, each chunk's at most once."""

    def __init__(self) -> None:
        self._picture: NDArray[uint8] | None = None
        self._url: str | None = None

    async def of(self, picture: NDArray[uint8] | None) -> str | None:
        """The newest picture, as `encode_preview` gives it in a thread: it takes milliseconds."""
        if picture is not self._picture:
            self._url = None if picture is None else await asyncio.to_thread(encode_preview, picture)
            self._picture = picture
        return self._url


def encode_preview(picture: NDArray[uint8]) -> str | None:
    """(H, W) uint8 as the data: URL of a grey JPEG; None if MAX_BYTES do not suffice."""
    image = Image.fromarray(picture)
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        url = HEAD + base64.b64encode(file.getvalue()).decode()
        if len(url) <= MAX_BYTES:
            return url
    return None
