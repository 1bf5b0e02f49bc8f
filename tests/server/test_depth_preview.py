import base64
import io

import numpy as np
from PIL import Image

from server.depth_preview import HEAD, MAX_BYTES, depth_preview


def test_a_preview_is_a_small_grey_jpeg():
    depth = np.linspace(0, 255, 72 * 128).reshape(72, 128).astype(np.uint8)
    url = depth_preview(depth)
    assert url.startswith(HEAD) and len(url) <= MAX_BYTES
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix(HEAD))))
    assert (image.mode, image.size) == ("L", (128, 72))
    assert np.abs(np.asarray(image).astype(int) - depth).mean() < 4


def test_the_noisiest_preview_fits_too_or_is_left_out():
    noise = np.random.default_rng(0).integers(0, 256, (72, 128), np.uint8)
    url = depth_preview(noise)
    assert url is not None and len(url) <= MAX_BYTES
    huge = np.random.default_rng(0).integers(0, 256, (720, 1280), np.uint8)
    assert depth_preview(huge) is None
    assert depth_preview(None) is None
