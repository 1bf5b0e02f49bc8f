"""Looks are read in their order, and an entry that cannot be shown is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from streaming.api import Look
from streaming.checkpoints.looks import LooksError, load_looks

GOLD: dict[str, Any] = {
    "name": "Molten gold",
    "prompt": "a statue of molten gold",
    "thumbnail": "thumbnails/gold.webp",
}
CLAY: dict[str, Any] = {"name": "Clay", "prompt": "grey clay"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "package"
    for picture in (tmp_path / "outside.webp", inside / "thumbnails/gold.webp", inside / "other/gold.webp"):
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    return inside


def write(folder: Path, content: Any) -> None:
    (folder / "looks.json").write_text(json.dumps(content), encoding="utf-8")


def test_looks_come_in_their_order(folder: Path) -> None:
    write(folder, [GOLD, CLAY])
    gold = Look("Molten gold", "a statue of molten gold", folder / "thumbnails/gold.webp")
    assert load_looks(folder) == (gold, Look("Clay", "grey clay", None))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"looks": []}, r"looks.json: expected a list of looks, got \{\"looks\": \[\]\}"),
        ([GOLD, "gold"], r"\[1\] must be an object of name, prompt and thumbnail, got 'gold'"),
        ([CLAY | {"titel": "Clay"}], r"\[0\] must be an object of name, prompt and thumbnail"),
        ([CLAY | {"name": ""}], r"\[0\].name must have 1 to 40 characters"),
        ([CLAY | {"prompt": " clay"}], r"\[0\].prompt must have .* no space at its ends, got ' clay'"),
        ([CLAY | {"prompt": "x" * 1001}], r"\[0\].prompt must have 1 to 1000 characters"),
        ([CLAY | {"prompt": None}], r"\[0\].prompt must have .*, got None"),
        ([CLAY | {"thumbnail": "thumbnails/clay.webp"}], r"\[0\].thumbnail must be a file below .*clay.webp"),
        ([CLAY | {"thumbnail": "../outside.webp"}], r"\[0\].thumbnail must be a file below .*outside.webp"),
        ([CLAY | {"thumbnail": "looks.json"}], r"\[0\].thumbnail must be .* one of .webp, .png, .jpg"),
        ([CLAY | {"thumbnail": 3}], r"\[0\].thumbnail must be .* got 3"),
        ([GOLD, CLAY | {"name": "Molten gold"}], r"every name must stand there once, 'Molten gold' does not"),
        ([CLAY, CLAY | {"name": "Grey"}], r"every prompt must stand there once, 'grey clay' does not"),
        ([GOLD, CLAY | {"thumbnail": "other/gold.webp"}], r"every file name of a thumbnail .* 'gold.webp'"),
    ],
)
def test_what_cannot_be_shown_is_named(folder: Path, content: Any, told: str) -> None:
    write(folder, content)
    with pytest.raises(LooksError, match=told):
        load_looks(folder)


def test_a_file_that_is_missing_or_damaged_is_named(folder: Path) -> None:
    with pytest.raises(LooksError, match=r"looks.json: cannot be read \(.*No such file"):
        load_looks(folder)
    (folder / "looks.json").write_text("[{")
    with pytest.raises(LooksError, match=r"looks.json: cannot be read"):
        load_looks(folder)
