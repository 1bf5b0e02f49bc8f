import base64
import io
import threading

import numpy as np
from PIL import Image

from server.session.control_preview import HEAD, MAX_BYTES, ControlPreview, encode_preview


def test_a_preview_is_a_small_grey_jpeg():
    depth = np.linspace(0, 255, 72 * 128).reshape(72, 128).astype(np.uint8)
    url = encode_preview(depth)
    assert url.startswith(HEAD) and len(url) <= MAX_BYTES
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix(HEAD))))
    assert (image.mode, image.size) == ("L", (128, 72))
    assert np.abs(np.asarray(image).astype(int) - depth).mean() < 4


def test_the_noisiest_preview_fits_too_or_is_left_out():
    noise = np.random.default_rng(0).integers(0, 256, (72, 128), np.uint8)
    url = encode_preview(noise)
    assert url is not None and len(url) <= MAX_BYTES == 4096, "telemetry goes out twice a second"
    huge = np.random.default_rng(0).integers(0, 256, (720, 1280), np.uint8)
    assert encode_preview(huge) is None


async def test_each_depth_is_encoded_once_and_not_on_the_loop(monkeypatch):
    encoded = []
    monkeypatch.setattr(
        "server.session.control_preview.encode_preview",
        lambda depth: encoded.append(threading.current_thread()) or "url",
    )
    preview, depth = ControlPreview(), np.zeros((72, 128), np.uint8)
    assert await preview.of(None) is None and not encoded
    assert await preview.of(depth) == await preview.of(depth) == "url"
    assert len(encoded) == 1
    assert await preview.of(None) is None
    assert await preview.of(depth.copy()) == "url" and len(encoded) == 2
    assert threading.current_thread() not in encoded
