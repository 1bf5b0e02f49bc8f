import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from streaming.blocks.reference_images import (
    check_references,
    fit_reference,
    load_reference,
    reference_key,
)


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 0], pixels[0, 0] = 255, (0, 128, 255)
    return Image.fromarray(pixels)


def test_a_picture_is_read_alike_from_file_and_memory(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "red.png")
    from_file, from_memory = load_reference(tmp_path / "red.png"), load_reference(picture)
    assert torch.equal(from_file, from_memory)
    assert from_file.shape == (3, 4, 6) and from_file.dtype == torch.float32
    torch.testing.assert_close(from_file[:, 0, 0], torch.tensor([-1.0, 128 / 127.5 - 1, 1.0]))
    assert torch.equal(from_file[:, 3, 5], torch.tensor([1.0, -1.0, -1.0]))


def test_a_photo_is_turned_upright(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    picture.save(tmp_path / "turned.png", exif=exif)
    assert load_reference(tmp_path / "turned.png").shape == (3, 6, 4)


def test_transparency_and_grey_become_three_channels() -> None:
    for mode in ("RGBA", "L", "P"):
        assert load_reference(Image.new(mode, (5, 3))).shape == (3, 3, 5)


@pytest.mark.parametrize(
    ("size", "inside"),
    [((8, 8), (slice(0, 16), slice(8, 24))), ((4, 16), (slice(4, 12), slice(0, 32)))],
    ids=["tall", "wide"],
)
def test_a_picture_is_fitted_whole_and_centred_on_white(
    size: tuple[int, int], inside: tuple[slice, slice]
) -> None:
    fitted = fit_reference(torch.full((3, *size), -0.5), 16, 32)
    assert fitted.shape == (3, 16, 32)
    assert (fitted[:, *inside] == -0.5).all()
    outside = torch.ones(16, 32, dtype=torch.bool)
    outside[inside] = False
    assert (fitted[:, outside] == 1).all()


def test_a_picture_of_the_right_size_is_untouched() -> None:
    image = torch.rand(3, 16, 32)
    assert torch.equal(fit_reference(image, 16, 32), image)


def test_a_sliver_keeps_a_pixel() -> None:
    fitted = fit_reference(torch.full((3, 1, 1000), -1.0), 16, 32)
    assert (fitted == -1).any()


def test_the_key_follows_the_picture(picture: Image.Image, tmp_path: Path) -> None:
    tensor = load_reference(picture)
    assert reference_key(picture) == reference_key(picture.copy())
    assert reference_key(tensor) == reference_key(tensor.clone())
    assert reference_key(tensor) != reference_key(tensor.flip(1))
    assert reference_key(tensor) != reference_key(tensor.reshape(3, 6, 4))
    path = tmp_path / "a.png"
    picture.save(path)
    before = reference_key(path)
    assert reference_key(str(path)) == before
    Image.new("RGB", (9, 9)).save(path)
    assert reference_key(path) != before


NOW = 1_700_000_000_000_000_000  # nanoseconds: more than a float tells apart


def test_the_key_of_a_file_tells_its_place_its_time_and_its_length(tmp_path: Path) -> None:
    """A picture may be replaced by one of the same length, or within the clock's grain by a longer one."""
    path, copy = tmp_path / "a.bmp", tmp_path / "b.bmp"
    Image.new("RGB", (9, 9), "red").save(path)
    os.utime(path, ns=(0, NOW))
    before = reference_key(path)
    Image.new("RGB", (9, 9), "blue").save(path)
    os.utime(path, ns=(0, NOW + 1))
    assert reference_key(path) != before, "the length is the same"
    Image.new("RGB", (9, 10), "red").save(path)
    os.utime(path, ns=(0, NOW))
    assert reference_key(path) != before, "the time is the same"
    for each in (path, copy):
        Image.new("RGB", (9, 9), "red").save(each)
        os.utime(each, ns=(0, NOW))
    assert reference_key(path) == before != reference_key(copy), "time and length are the same"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "1 to 3 images, got 0 images"),
        (["a"] * 4, "1 to 3 images, got 4 images"),
        ("a.png", "got one str"),
        (Path("a.png"), "got one PosixPath"),
        (torch.zeros(3, 4, 4), "got one Tensor"),
        (["a.png", 7], r"ref_images\[1\] must be a path, a PIL image or a tensor, got int"),
        ([torch.zeros(1, 4, 4)], r"ref_images\[0\] must be \(3, H, W\) in \[-1, 1\], got \(1, 4, 4\)"),
    ],
)
def test_what_is_no_list_of_pictures_is_named(images, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_references(images)
