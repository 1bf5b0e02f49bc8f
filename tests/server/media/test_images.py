import io
import random

import numpy as np
import pytest
from PIL import Image

import server.media.images
from server.media.images import (
    KEPT_IMAGES,
    KEPT_SIDE,
    MAX_IMAGE_BYTES,
    ImageRejected,
    ImageStore,
    decode_image,
)

ORIENTATION = 0x0112
RED, GREEN = (255, 0, 0), (0, 255, 0)


def file_of(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Red on the left, green on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_three_formats_are_read(format):
    rgb = decode_image(file_of(scene(), format, quality=95))
    assert rgb.shape == (48, 64, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    assert np.allclose(rgb[24, 4], RED, atol=12) and np.allclose(rgb[24, -4], GREEN, atol=12)


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_not(format):
    with pytest.raises(ImageRejected, match="no PNG, JPEG or WebP"):
        decode_image(file_of(scene(), format))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_laid_over_white(format):
    image = Image.new("RGBA", (32, 32), (0, 0, 255, 0))
    image.paste((0, 0, 255, 255), (16, 0, 32, 32))
    rgb = decode_image(file_of(image, format, lossless=True))
    assert tuple(rgb[4, 4]) == (255, 255, 255) and tuple(rgb[4, 28]) == (0, 0, 255)


def test_a_palette_with_transparency_is_laid_over_white():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert tuple(decode_image(file_of(image, transparency=0))[0, 0]) == (255, 255, 255)
    assert tuple(decode_image(file_of(image))[0, 0]) == (10, 20, 30)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_pictures_keep_their_brightness(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((32, 32), 200 * 257, np.uint16))
        expected = 200
    else:
        image = Image.new("L", (32, 32), 200).convert(mode)
        expected = 255 if mode == "1" else 200
        if mode == "1":
            image = Image.new("1", (32, 32), 1)
    assert np.all(decode_image(file_of(image)) == expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_a_picture_is_turned_as_its_exif_says(format, mode):
    """Whatever it is made of: dark or red on the left comes to the top."""
    if (format, mode) in {("JPEG", "RGBA"), ("JPEG", "P")}:
        pytest.skip("a JPEG has neither transparency nor a palette")
    if mode == "CMYK" and format != "JPEG":
        pytest.skip("colours of print are for JPEGs")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was held upright
    image = scene().convert(mode)
    rgb = decode_image(file_of(image, format, quality=95, exif=exif))
    assert rgb.shape == (64, 48, 3)
    top, bottom = (RED, GREEN) if mode != "L" else ((76,) * 3, (150,) * 3)
    assert np.allclose(rgb[4, 24], top, atol=12) and np.allclose(rgb[-4, 24], bottom, atol=12)


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (32, 32), (0, 0, 255, 128))
    assert np.allclose(decode_image(file_of(image))[0, 0], (127, 127, 255), atol=2)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_each_way_to_hold_a_camera_is_turned_back(mode, orientation, corner):
    """One corner is red: where it comes to lie."""
    image = Image.new("RGB", (64, 48), GREEN)
    image.paste(RED, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    rgb = decode_image(file_of(image.convert(mode), exif=exif))
    assert rgb.shape == ((48, 64, 3) if orientation in (1, 3) else (64, 48, 3))
    corners = {(y, x): tuple(rgb[y, x]) for y in (0, -1) for x in (0, -1)}
    assert [where for where, colour in corners.items() if colour == RED] == [corner]


def test_a_picture_of_as_many_pixels_as_allowed_is_taken():
    assert decode_image(file_of(Image.new("L", (6000, 4000)), "JPEG")).shape == (853, KEPT_SIDE, 3)


def test_a_large_jpeg_is_decoded_small(monkeypatch):
    """At full size it would take ten times the time and the memory."""
    decoded, upright = [], server.media.images._small_rgb
    monkeypatch.setattr(
        server.media.images, "_small_rgb", lambda image: decoded.append(image.size) or upright(image)
    )
    decode_image(file_of(scene(6000, 3000), "JPEG"))
    assert decoded == [(3000, 1500)]


@pytest.mark.parametrize("size", [(16, 16), (128, 16), (16, 128)])
def test_the_smallest_and_the_longest_picture_are_taken(size):
    assert decode_image(file_of(Image.new("RGB", size))).shape == (size[1], size[0], 3)


def test_the_largest_transparent_picture_is_kept_small_too():
    assert decode_image(file_of(Image.new("RGBA", (1500, 3000)))).shape == (KEPT_SIDE, KEPT_SIDE // 2, 3)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_what_is_kept_is_small(format):
    assert decode_image(file_of(scene(3000, 1500), format)).shape == (KEPT_SIDE // 2, KEPT_SIDE, 3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((6000, 4001), "24 megapixels"),
        ((15, 100), "16 pixels"),
        ((100, 15), "16 pixels"),
        ((801, 100), "8 times the other"),
        ((100, 801), "8 times the other"),
    ],
)
def test_sizes_have_limits(size, expected):
    with pytest.raises(ImageRejected, match=expected):
        decode_image(file_of(Image.new("L", size)))


@pytest.mark.parametrize("side", [10_000, 20_000])  # Pillow's own limits for bombs: a warning, then an error
def test_a_bomb_is_refused_by_its_header(side):
    bomb = file_of(Image.new("1", (side, side)))
    assert len(bomb) < 100_000
    with pytest.raises(ImageRejected):
        decode_image(bomb)


def test_too_many_bytes_are_refused_unread():
    with pytest.raises(ImageRejected, match="at most 8388608"):
        decode_image(bytes(MAX_IMAGE_BYTES + 1))
    with pytest.raises(ImageRejected, match="no PNG, JPEG or WebP"):
        decode_image(bytes(MAX_IMAGE_BYTES))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about what is broken in them
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_broken_files_are_refused_or_read_but_raise_nothing_else(format):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    good = file_of(scene(), format, exif=exif)
    dice = random.Random(5)
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 8)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        try:
            rgb = decode_image(bytes(bad[: dice.randint(1, len(bad))]))
        except ImageRejected:
            continue
        assert rgb.ndim == 3 and rgb.dtype == np.uint8


def test_no_bytes_are_no_picture():
    with pytest.raises(ImageRejected):
        decode_image(b"")


def test_the_oldest_picture_out_of_use_gives_way():
    used: list[str] = []
    store = ImageStore(in_use=lambda: used)
    pictures = [np.full((16, 16, 3), n, np.uint8) for n in range(KEPT_IMAGES + 2)]
    ids = [store.add(picture) for picture in pictures[:KEPT_IMAGES]]
    used.append(ids[0])
    ids += [store.add(picture) for picture in pictures[KEPT_IMAGES:]]
    assert len(set(ids)) == len(ids) and len(store) == KEPT_IMAGES
    assert [number for number, id in enumerate(ids) if store.get(id) is None] == [1, 2]
    assert store.get(ids[0]) is pictures[0] and store.get("nothing") is None
