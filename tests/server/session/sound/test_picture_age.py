"""Age of pictures: the test shows them, and brings the clock."""

import pytest

from server.session.sound.picture_age import OTHER_S, SILENT_S, WINDOW, PictureAge


def shown(ages: list[float], age: PictureAge | None = None, now: float = 100.0) -> tuple[PictureAge, float]:
    age = age or PictureAge()
    for seconds in ages:
        now += 1 / 24
        age.shown(now - seconds, now)
    return age, now


def test_without_pictures_there_is_none():
    age = PictureAge()
    assert age.seconds(100.0) is None
    age, now = shown([0.5])
    assert age.seconds(now + SILENT_S) == pytest.approx(0.5)
    assert age.seconds(now + SILENT_S + 0.01) is None


def test_law_it_is_that_of_most_pictures():
    """Some that are late, or early, move nothing."""
    age, now = shown([0.5] * 8 + [0.9, 0.1] + [0.5] * 3 + [0.9, 0.9])
    assert age.seconds(now) == pytest.approx(0.5)


def test_law_another_age_is_taken_after_three_pictures():
    age, now = shown([0.5] * WINDOW)
    age, now = shown([0.5 + 2 * OTHER_S] * 2, age, now)
    assert age.seconds(now) == pytest.approx(0.5)
    age, now = shown([0.5 + 2 * OTHER_S], age, now)
    assert age.seconds(now) == pytest.approx(0.5 + 2 * OTHER_S)


def test_a_slow_change_is_followed():
    age, now = shown([0.5 + n / 1000 for n in range(100)])
    assert age.seconds(now) == pytest.approx(0.599, abs=WINDOW / 1000)


def test_after_a_pause_the_age_is_that_of_the_first_picture():
    age, now = shown([0.5] * WINDOW)
    age, now = shown([0.8], age, now + 60)
    assert age.seconds(now) == pytest.approx(0.8)
