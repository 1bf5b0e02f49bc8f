"""Laws of a video file's round trip: every picture, at its time, upright; the sound bit for bit."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scripts.video_file import VideoFileError, VideoReader, VideoWriter
from tests.scripts.clips import SIZE, number_of, packets, write_clip, write_sound

STEADY = range(0, 20 * 1001, 1001)
UNEVEN = [500, 1501, 1502, 6000, 6400, 30000, 30001]  # a start that is not zero, a pause, bursts


def copy(source: Path, target: Path) -> str | None:
    with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
        for picture in clip.pictures():
            out.write(picture)
        return out.lost_audio


def times(path: Path) -> list[Fraction]:
    with VideoReader(path) as clip:
        return [picture.pts * clip.time_base for picture in clip.pictures()]


@pytest.mark.parametrize("plan", [STEADY, UNEVEN, [0]], ids=["steady", "uneven", "one picture"])
@pytest.mark.parametrize("kind", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_picture_keeps_its_place_and_time(tmp_path: Path, kind: str, plan: list[int]) -> None:
    source, target = write_clip(tmp_path / "in.mp4", plan), tmp_path / f"out{kind}"
    assert copy(source, target) is None
    tick = Fraction(1, 1000) if kind in (".mkv", ".webm") else Fraction(0)  # theirs is a millisecond
    assert times(target) == pytest.approx([Fraction(time, 30000) for time in plan], abs=float(tick))
    with VideoReader(target) as clip:
        pictures = list(clip.pictures())
    assert [round(number_of(picture.pixels)) for picture in pictures] == list(range(len(plan)))
    assert pictures[0].seconds == 0
    assert pictures[-1].seconds == pytest.approx((plan[-1] - plan[0]) / 30000, abs=2e-3)


def test_rate_and_length_come_with_the_pictures(tmp_path: Path) -> None:
    source, target = write_clip(tmp_path / "in.mp4", STEADY), tmp_path / "out.mp4"
    copy(source, target)
    for path in (source, target):
        with VideoReader(path) as clip:
            assert (clip.num_frames, clip.rate, clip.time_base) == (
                20,
                Fraction(30000, 1001),
                Fraction(1, 30000),
            )


def test_a_file_without_times_gets_even_ones(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "bare.h264", STEADY)
    found = times(source)
    assert len(found) == 20
    assert {after - before for before, after in pairwise(found)} == {Fraction(1, 25)}  # nobody said another
    copy(source, tmp_path / "out.mp4")
    assert len(times(tmp_path / "out.mp4")) == 20


def test_times_rise_where_the_file_repeats_them(tmp_path: Path) -> None:
    """Matroska counts milliseconds: pictures that follow more quickly share one."""
    source = write_clip(tmp_path / "in.mkv", [0, 10, 20, 3000, 3001])
    copy(source, tmp_path / "out.mp4")
    for path in (source, tmp_path / "out.mp4"):
        assert times(path) == [Fraction(ms, 1000) for ms in (0, 1, 2, 100, 101)]


@pytest.mark.parametrize(("turned", "size"), [(0, SIZE), (90, SIZE[::-1]), (180, SIZE), (-90, SIZE[::-1])])
def test_pictures_are_upright(tmp_path: Path, turned: int, size: tuple[int, int]) -> None:
    with VideoReader(write_clip(tmp_path / "in.mp4", [0], turned=turned)) as clip:
        pixels = next(clip.pictures()).pixels
    assert pixels.shape == (*size, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    # Stored bright above; turned counterclockwise by 90 degrees that is left.
    upright = np.rot90(pixels, -turned // 90)
    assert upright[: SIZE[0] // 2].mean() - upright[SIZE[0] // 2 :].mean() > 15


def test_pixels_are_square(tmp_path: Path) -> None:
    with VideoReader(write_clip(tmp_path / "in.mp4", [0], aspect=Fraction(3, 2))) as clip:
        assert next(clip.pictures()).pixels.shape == (SIZE[0], SIZE[1] * 3 // 2, 3)


@pytest.mark.parametrize(
    ("audio", "kind"), [("aac", ".mp4"), ("aac", ".mkv"), ("aac", ".mov"), ("libopus", ".webm")]
)
def test_the_sound_is_copied_bit_for_bit(tmp_path: Path, audio: str, kind: str) -> None:
    source = write_clip(tmp_path / "in.mkv", STEADY, audio=audio)
    target = tmp_path / f"out{kind}"
    assert copy(source, target) is None
    wanted, got = packets(source), packets(target)
    assert len(wanted) > 40 and [data for _, data in got] == [data for _, data in wanted]
    assert [time for time, _ in got] == pytest.approx([time for time, _ in wanted], abs=2e-3)


def test_sound_is_read_along_with_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all at once, and not at the end: players want both side by side."""
    source, taken = write_clip(tmp_path / "in.mp4", STEADY, audio="aac"), []
    with VideoReader(source) as clip:
        every = clip.audio_packets
        monkeypatch.setattr(clip, "audio_packets", lambda: (taken.append(1) or packet for packet in every()))
        with VideoWriter(tmp_path / "out.mp4", like=clip) as out:
            counts = [out.write(picture) or len(taken) for picture in clip.pictures()]
    assert counts[0] <= 3 and counts == sorted(counts)
    assert counts[-1] == pytest.approx(19 * 1001 / 30000 * 48000 / 1024, abs=3)


def test_sound_that_the_file_cannot_hold_is_named_and_the_pictures_stay(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", STEADY, audio="aac")
    assert copy(source, tmp_path / "out.webm") == ".webm files cannot hold aac audio"
    assert len(times(tmp_path / "out.webm")) == 20
    with VideoReader(tmp_path / "out.webm") as clip:
        assert clip.audio is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all\n" * 100)
    sound = write_sound(tmp_path / "sound.m4a")
    for path, reason in (
        (tmp_path / "missing.mp4", "no such file"),
        (text, "not a video that can be read"),
        (sound, "no video stream"),
        (tmp_path, "no such file"),
    ):
        with pytest.raises(VideoFileError, match=f"{path.name}: .*{reason}"):
            VideoReader(path)


def test_what_cannot_be_written_is_named_before_the_first_picture(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", [0])
    with VideoReader(source) as clip:
        for path, reason in (
            (tmp_path / "nowhere" / "out.mp4", "cannot be written: No such file or directory"),
            (source / "out.mp4", "cannot be written: Not a directory"),
            (tmp_path / "out.txt", r"expected a name that ends in \.mp4"),
            (tmp_path / "in.mp4", "is the input"),
        ):
            with pytest.raises(VideoFileError, match=reason):
                VideoWriter(path, like=clip)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    source, target = write_clip(tmp_path / "in.mp4", STEADY), tmp_path / "out.mp4"
    target.write_text("old")
    with VideoReader(source) as clip, pytest.raises(KeyError), VideoWriter(target, like=clip) as out:
        out.write(next(clip.pictures()))
        raise KeyError
    with (
        VideoReader(source) as clip,
        pytest.raises(VideoFileError, match="not one picture"),
        VideoWriter(target, like=clip),
    ):
        pass
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_file_that_ends_too_soon_gives_what_it_has(tmp_path: Path) -> None:
    source, cut = write_clip(tmp_path / "in.mkv", STEADY), tmp_path / "cut.mkv"
    data = source.read_bytes()
    cut.write_bytes(data[: len(data) * 4 // 5])
    with VideoReader(cut) as clip:
        assert 0 < len(list(clip.pictures())) < 20


def test_pictures_of_another_size_are_written_in_that_size(tmp_path: Path) -> None:
    source, target = write_clip(tmp_path / "in.mp4", STEADY), tmp_path / "out.mp4"
    with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
        for picture in clip.pictures():
            out.write(replace(picture, pixels=np.full((80, 96, 3), 200, np.uint8)))
    with VideoReader(target) as clip:
        assert next(clip.pictures()).pixels.shape == (80, 96, 3)
