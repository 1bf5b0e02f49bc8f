import json

import pytest
from pydantic import TypeAdapter, ValidationError

from server.picture_size import EXPECTED, PictureSize
from server.settings import Settings, load_settings

SIZES = TypeAdapter(PictureSize)


@pytest.mark.parametrize(("text", "size"), [("832x480", (832, 480)), (" 144x256 ", (144, 256))])
def test_a_size_is_read_as_people_write_it(text, size):
    assert SIZES.validate_python(text) == size


@pytest.mark.parametrize(
    "text", ["832", 832, "832*480", "832x", "0x480", "-1x4", "8x8", "99999x480", "1x1x1", "", "832x480px"]
)
def test_what_is_no_size_is_refused_with_what_was_expected(text):
    with pytest.raises(ValidationError, match=EXPECTED):
        SIZES.validate_python(text)


def test_a_size_comes_from_flags_environment_and_file(tmp_path, monkeypatch):
    file = tmp_path / "depthlive.toml"
    file.write_text('size = "480x832"\n')
    assert load_settings({"size": "832x480"}, file).size == (832, 480)
    assert load_settings({}, file).size == (480, 832)
    monkeypatch.setenv("DEPTHLIVE_SIZE", "256x144")
    assert load_settings({}, file).size == (256, 144)
    assert load_settings({"size": None}).size == (256, 144)


def test_a_worker_of_a_cluster_is_given_the_same():
    """By JSON or as it is."""
    settings = load_settings({"size": "832x480"})
    assert Settings(size=json.loads(settings.model_dump_json())["size"]).size == (832, 480)
    assert settings.model_copy(update={"port": 0}).size == (832, 480)
