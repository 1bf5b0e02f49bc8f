"""Figures of a face: full marks for the camera itself, chance for a picture that shows nothing of it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scripts.embedded.judging.faces import (
    HALF,
    Mouth,
    band_followed,
    lines_found,
    mouth_told,
    mouths,
)

MARKS = [
    Mouth(frame=frame, x=96 + 2 * n, y=90, open=None if n == 3 else n % 2 == 0)
    for first in (0, HALF)
    for n, frame in enumerate(range(first, first + 16, 2))
]


def camera(*, open_now: Callable[[int], bool | None] = lambda n: MARKS[n].open) -> Tensor:
    """Frames of a bright face with eyes and a mouth that is a line or a hole."""
    frames = torch.full((len(MARKS), 3, 144, 256), 0.7)
    frames[..., 200:] = 0.1  # something dark beside it, or lines would be all that is
    for n, mark in enumerate(MARKS):
        tall = 8 if open_now(n) else 2
        frames[n, :, mark.y - tall // 2 : mark.y + tall // 2, mark.x - 10 : mark.x + 10] = 0.1
        for side in (-18, 8):
            frames[n, :, mark.y - 40 : mark.y - 36, mark.x + side : mark.x + side + 10] = 0.1
    return frames


def noise() -> Tensor:
    return torch.rand(len(MARKS), 3, 144, 256, generator=torch.Generator().manual_seed(0))


def test_a_mouth_is_told_where_it_is_seen_and_not_where_it_is_still_or_noise() -> None:
    assert mouth_told(camera(), MARKS) == 1
    assert mouth_told(1 - camera(), MARKS) == 1  # dark or bright
    assert mouth_told(camera(open_now=lambda _: False), MARKS) <= 0.5
    assert abs(mouth_told(noise(), MARKS) - 0.5) < 0.3


def test_a_half_without_open_mouths_is_refused() -> None:
    shut = [mark.model_copy(update={"open": False}) if mark.frame < HALF else mark for mark in MARKS]
    with pytest.raises(ValueError, match="each half"):
        mouth_told(camera(), shut)


def test_lines_are_found_where_they_are_and_by_chance_elsewhere() -> None:
    seen = camera()
    assert lines_found(seen, seen, MARKS) == pytest.approx(1)
    assert lines_found(seen.roll(2, -1), seen, MARKS) > 0.9
    assert lines_found(seen.roll(14, -2), seen, MARKS) < 0.3
    assert lines_found(1 - seen, seen, MARKS, bright=True) == pytest.approx(1, abs=1e-3)
    assert abs(lines_found(noise(), seen, MARKS)) < 0.2


def test_lines_of_a_dark_face_are_its_lines_and_hatching_hides_them() -> None:
    seen = camera() * 0.4
    seen[..., 200:] = 1.0  # a window
    assert lines_found(seen, seen, MARKS) == pytest.approx(1)
    assert lines_found(torch.full_like(seen, 0.1), seen, MARKS) <= 0
    hatched = 0.8 + 0.2 * seen
    hatched[..., ::8] = 0.0
    assert lines_found(hatched, seen, MARKS) < 0.3


def test_shades_are_followed_by_size_and_whatever_their_sign() -> None:
    seen = camera()
    assert band_followed(0.2 + 0.5 * seen, seen, MARKS) == pytest.approx(1, abs=1e-4)
    assert band_followed(1 - seen, seen, MARKS) == pytest.approx(1, abs=1e-4)
    assert band_followed(noise(), seen, MARKS) < 0.2
    wide = torch.linspace(0, 1, 144)[:, None].expand(len(MARKS), 3, -1, 256)
    assert band_followed((seen + 3 * wide) / 4, seen, MARKS) > 0.95


def test_the_marks_lie_in_the_picture_and_both_halves_have_both_kinds() -> None:
    marks = mouths()
    assert [mark.frame for mark in marks] == list(range(0, 118, 2))
    assert all(34 <= mark.x < 222 and 62 <= mark.y < 120 for mark in marks)
    for half in (marks[: HALF // 2], marks[HALF // 2 :]):
        assert min(sum(mark.open is kind for mark in half) for kind in (True, False)) >= 5
