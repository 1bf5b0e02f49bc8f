"""Which frame of a looping clip a page showed, told from numbers and times."""

from pathlib import Path

import av
import numpy as np
import pytest

from scripts.bench.clients.frame_number import read
from scripts.bench.clients.numbered_clip import FPS, LENGTH, number_in, sent_times, write_clip


def camera(first: int, count: int) -> list[tuple[float, int]]:
    return [((first + index) / FPS, (first + index) % LENGTH) for index in range(count)]


def test_a_shown_frame_is_found_where_the_camera_gave_it() -> None:
    shown = [((50 + index) / FPS + 0.4, 50 + index) for index in range(5)]
    assert sent_times(camera(0, 120), shown) == pytest.approx([(50 + index) / FPS for index in range(5)])


def test_a_frame_the_page_missed_lies_between_its_neighbours() -> None:
    seen = [frame for frame in camera(0, 120) if frame[1] not in (20, 21)]
    assert sent_times(seen, [(1.5, 20)]) == pytest.approx([20 / FPS])


def test_latency_is_right_across_the_end_of_the_loop() -> None:
    last = LENGTH - 1
    shown = [(last / FPS + 0.5, last), ((last + 1) / FPS + 0.5, 0)]
    assert sent_times(camera(LENGTH - 100, 200), shown) == pytest.approx([last / FPS, (last + 1) / FPS])


def test_a_page_that_saw_nothing_for_a_whole_loop_still_counts_it() -> None:
    late = [(time + 2 * LENGTH / FPS, number) for time, number in camera(100, 50)]
    shown = [(late[40][0] + 0.2, 140)]
    assert sent_times(camera(0, 100) + late, shown) == pytest.approx([late[40][0]])


def test_no_number_and_no_camera_have_no_time() -> None:
    assert sent_times(camera(0, 10), [(0.2, None)]) == [None]
    assert sent_times(camera(100, 10), [(4.0, 90)]) == [None]  # taken before anybody looked
    assert sent_times([], [(1.0, 3)]) == [None]


def test_the_clip_is_numbered_from_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "camera.mjpeg"
    write_clip(path, 160, 120)
    with av.open(str(path)) as container:
        numbers = [read(np.asarray(f.to_ndarray(format="gray"), np.uint8)) for f in container.decode(video=0)]
    assert numbers == list(range(LENGTH))


def test_a_number_beyond_the_clip_is_none() -> None:
    assert number_in([128.0] * 200) is None
