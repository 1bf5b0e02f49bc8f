import io
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from server.media.snapshot import SnapshotParameters, encode_png, read_parameters
from server.protocol.replies import ControlsState
from server.protocol.requests import WeightedPrompt

PARAMETERS = SnapshotParameters(
    model="embedded",
    prompts=(
        WeightedPrompt(text="eine Statue aus flüssigem Gold 金", weight=3.0),
        WeightedPrompt(text="clay", weight=0.5),
    ),
    seed=2**63 - 1,
    chunk=12,
    frame=141,
    guidance_scale=1.25,
    controls=ControlsState(gray=0.75, lines=0.0),
    noise_scale=0.75,
    steps=(1000, 750, 500, 250),
    time=datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=timezone(timedelta(hours=2))),
)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def opened(png: bytes) -> PngImagePlugin.PngImageFile:
    image = Image.open(io.BytesIO(png))
    assert isinstance(image, PngImagePlugin.PngImageFile)
    return image


def test_the_picture_comes_back_exactly(picture):
    assert np.array_equal(np.asarray(opened(encode_png(picture, PARAMETERS))), picture)


def test_the_parameters_come_back(picture):
    image = opened(encode_png(picture, PARAMETERS))
    assert read_parameters(image.text) == PARAMETERS


def test_a_turned_pictures_shape_comes_back_and_one_without_is_as_it_was(picture):
    turned = PARAMETERS.model_copy(update={"orientation": "upright", "fit": "fit"})
    assert read_parameters(opened(encode_png(picture, turned)).text) == turned
    assert (
        not {"depthlive:orientation", "depthlive:fit"} & opened(encode_png(picture, PARAMETERS)).text.keys()
    )


def test_a_model_with_its_own_steps_tells_how_many(picture):
    own = PARAMETERS.model_copy(update={"steps": 4})
    assert read_parameters(opened(encode_png(picture, own)).text).steps == 4


def test_people_and_viewers_can_read_the_text(picture):
    png = encode_png(picture, PARAMETERS)
    text = opened(png).text
    assert text["Title"] == "eine Statue aus flüssigem Gold 金, clay"
    assert text["Software"] == "depthlive"
    assert datetime.fromisoformat(text["Creation Time"]) == PARAMETERS.time.astimezone(UTC)
    assert text["depthlive:model"] == "embedded" and text["depthlive:chunk"] == "12"
    assert png.count(b"iTXt") == 13 and b"tEXt" not in png, "all of it is UTF-8"


def test_a_foreign_picture_has_no_parameters():
    with pytest.raises(KeyError):
        read_parameters({"Software": "other"})
