import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from server.media.movie_file import MovieFile

TICK = 3750  # a picture of 24 a second, in 1/90000 s


def flat(value: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@dataclass(frozen=True)
class Facts:
    """What a stream tells while its container is open."""

    codec: str
    size: tuple[int, int]
    frames: int
    time_base: Fraction
    seconds: float


def read(path: Path) -> tuple[Facts, list[tuple[float, np.ndarray]]]:
    """Of the video stream, and (seconds, pixels) of every picture."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [
            (float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)
        ]
        size, seconds = (stream.width, stream.height), float(stream.duration * stream.time_base)
        return Facts(stream.codec.name, size, stream.frames, stream.time_base, seconds), pictures


def test_pictures_and_their_times_come_back(tmp_path):
    file = MovieFile(tmp_path / "a.mp4", (64, 48))
    times = [0, TICK, 3 * TICK, 100 * TICK, 100 * TICK + 1]  # uneven, with a long pause
    for number, time in enumerate(times):
        file.write(flat(40 * number), time)
    file.close()
    stream, pictures = read(tmp_path / "a.mp4")
    assert (stream.codec, stream.size) == ("h264", (64, 48))
    assert [seconds for seconds, _ in pictures] == pytest.approx([time / 90_000 for time in times])
    for number, (_, pixels) in enumerate(pictures):
        assert abs(pixels.mean() - 40 * number) < 4
    assert file.bytes > 0


def test_when_closed_it_is_an_ordinary_mp4(tmp_path):
    file = MovieFile(tmp_path / "a.mp4", (64, 48))
    for number in range(60):
        file.write(flat(number), number * TICK)
    file.close()
    stream, _ = read(tmp_path / "a.mp4")
    assert stream.frames == 60 and stream.time_base == Fraction(1, 90_000)
    assert stream.seconds == pytest.approx(2.5, abs=0.1)
    boxes = top_level_boxes(tmp_path / "a.mp4")
    assert boxes[-1] == "moov" and "moof" not in boxes


def test_there_is_a_key_picture_every_second_however_few_pictures_come(tmp_path):
    file = MovieFile(tmp_path / "a.mp4", (64, 48))
    for number in range(20):
        file.write(flat(10 * number), number * 90_000 // 4)
    file.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.size]
    assert keys == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48)])
def test_odd_sizes_lose_a_pixel(tmp_path, size):
    file = MovieFile(tmp_path / "a.mp4", size)
    file.write(flat(90, *size), 0)
    file.close()
    stream, _ = read(tmp_path / "a.mp4")
    assert stream.size == (64, 48)


def test_another_size_in_mid_file_is_scaled(tmp_path):
    file = MovieFile(tmp_path / "a.mp4", (64, 48))
    file.write(flat(90), 0)
    file.write(flat(90, 256, 144), TICK)
    file.close()
    assert [pixels.shape for _, pixels in read(tmp_path / "a.mp4")[1]] == [(48, 64, 3)] * 2


def test_another_shape_in_mid_file_is_whole_between_bars(tmp_path):
    file = MovieFile(tmp_path / "a.mp4", (64, 48))
    file.write(flat(200), 0)
    file.write(flat(200, 48, 64), TICK)
    file.close()
    _, (_, pixels) = read(tmp_path / "a.mp4")[1]
    assert pixels.shape == (48, 64, 3)
    assert pixels[:, :12].max() < 20 and pixels[:, -12:].max() < 20 and pixels[:, 18:46].min() > 180


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises((OSError, FFmpegError)):
        MovieFile(tmp_path / "none" / "a.mp4", (64, 48)).write(flat(0), 0)


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from server.media.movie_file import MovieFile
file = MovieFile(Path(sys.argv[1]), (64, 48))
dice = np.random.default_rng(0)
for number in range(24 * 5 + 7):
    file.write(dice.integers(0, 256, (48, 64, 3), np.uint8), number * 3750)
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_process_leaves_a_file_that_plays_but_for_the_last_second(tmp_path):
    path = tmp_path / "a.mp4"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    _, pictures = read(path)
    assert len(pictures) == 24 * 5 and pictures[-1][0] == pytest.approx(5 - 1 / 24)


def top_level_boxes(path: Path) -> list[str]:
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        names.append(data[at + 4 : at + 8].decode())
        at += length
    return names
