"""Laws of a video file's round trip: every picture, at its time, upright; the sound bit for bit."""

import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

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
    wanted = [Fraction(time - plan[0], 30000) for time in plan]
    assert times(target) == pytest.approx(wanted, abs=float(tick))
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


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The clip with another display matrix, where the head of its track has the one for no turning."""
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + struct.pack(">9i", *matrix) + data[at + 36 :])
    return path


TURNS = [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)] + [(0, x, y, 0) for x in (1, -1) for y in (1, -1)]


@pytest.mark.parametrize(("a", "b", "c", "d"), TURNS)
def test_law_all_eight_display_matrices_are_upright(tmp_path: Path, a: int, b: int, c: int, d: int) -> None:
    """A pixel at (x, y) is shown at (a x + c y, b x + d y), from the corner that this leaves."""
    plain = write_clip(tmp_path / "plain.mp4", [0], quarters=True)
    with VideoReader(plain) as clip:
        stored = next(clip.pictures()).pixels
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    right, down = a * xs + c * ys, b * xs + d * ys
    wanted = np.empty((SIZE if a else SIZE[::-1]) + (3,), np.uint8)
    wanted[down - down.min(), right - right.min()] = stored
    with VideoReader(with_matrix(plain, a, b, c, d)) as clip:
        assert np.array_equal(next(clip.pictures()).pixels, wanted)


@pytest.mark.parametrize(
    "name", ["2026-01-26T20:57:04Z.mp4", "take:1.mp4", "http:x.mp4", "a%03d b?c#d.mp4", "-x.mp4"]
)
def test_law_every_name_of_a_file_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_clip(tmp_path / "in.mp4", STEADY, audio="aac").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert copy(Path(name), Path(f"out {name}")) is None
    assert len(times(Path(f"out {name}"))) == 20


def late(path: Path, seconds: int, audio: str | None = "aac") -> Path:
    """A transport stream of 20 pictures whose clock is somewhere else, as recordings' are."""
    plan = [time + seconds * 30000 for time in STEADY]
    return write_clip(path, plan, audio=audio, sound_from=seconds)


@pytest.mark.parametrize("audio", ["aac", None])
@pytest.mark.parametrize("seconds", [0, 4557, 90000])
def test_law_the_output_starts_at_zero_whatever_the_clips_clock(
    tmp_path: Path, seconds: int, audio: str | None
) -> None:
    source, target = late(tmp_path / "in.ts", seconds, audio), tmp_path / "out.mp4"
    assert copy(source, target) is None
    with av.open(str(target)) as container:
        first = next(container.decode(video=0))
        assert first.time == pytest.approx(0, abs=0.1)
        assert container.duration / 1e6 == pytest.approx(1.0 if audio else 20 * 1001 / 30000, abs=0.15)


@pytest.mark.parametrize("audio", ["aac", None])
@pytest.mark.parametrize("starts", [(0, 0), (0, 0, 0), (50, 0), (0, 5000), (9, 3, 7000)])
def test_law_a_clock_that_falls_or_leaps_goes_on_for_pictures_and_sound(
    tmp_path: Path, starts: tuple[int, ...], audio: str | None
) -> None:
    parts = [late(tmp_path / f"{number}.ts", start, audio) for number, start in enumerate(starts)]
    source, target = tmp_path / "in.ts", tmp_path / "out.mp4"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert copy(source, target) is None
    found = times(target)
    assert len(found) == 20 * len(starts)
    assert max(after - before for before, after in pairwise(found)) < 0.6, "at most what the sound is longer"
    part = 1.0 if audio else 20 * 1001 / 30000
    with av.open(str(target)) as container:
        assert container.duration / 1e6 == pytest.approx(part * len(starts), abs=0.15 * len(starts))
    if audio:
        sound = [time for time, _ in packets(target)]
        assert len(sound) == sum(len(packets(each)) for each in parts)
        assert max(after - before for before, after in pairwise(sound)) < 0.1


def test_a_pause_of_the_pictures_alone_is_no_leap(tmp_path: Path) -> None:
    plan = [0, 1001, 30000 * 30]
    source = write_clip(tmp_path / "in.ts", plan)
    copy(source, tmp_path / "out.mkv")
    with VideoReader(source) as clip:
        clip_times = [picture.seconds for picture in clip.pictures()]
    assert len(clip_times) == 3


def test_law_a_picture_that_is_damaged_is_left_out_and_told(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", STEADY, audio="aac")
    with av.open(str(source)) as container:
        (packet,) = [p for n, p in enumerate(container.demux(video=0)) if n == 12]
        at, size = packet.pos, packet.size
    data = bytearray(source.read_bytes())
    data[at : at + size] = b"\xff" * size
    source.write_bytes(data)
    with VideoReader(source) as clip, VideoWriter(tmp_path / "out.mp4", like=clip) as out:
        for picture in clip.pictures():
            out.write(picture)
    assert clip.damage and "damaged" in clip.damage
    assert 10 <= len(times(tmp_path / "out.mp4")) < 20
    assert len(packets(tmp_path / "out.mp4")) == len(packets(source))


def test_law_sound_of_an_unknown_kind_is_left_out_and_named(tmp_path: Path) -> None:
    """As Apple's spatial sound: one track of it alone, or beside one that is known."""
    source = write_clip(tmp_path / "in.mp4", STEADY, audio="aac")
    source.write_bytes(source.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    assert copy(source, tmp_path / "out.mp4") == "it is coded in a way that is not known here"
    assert len(times(tmp_path / "out.mp4")) == 20


def test_law_what_has_no_picture_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """Before a model is loaded for it."""
    empty = tmp_path / "empty.mp4"
    source = write_clip(tmp_path / "in.mp4", STEADY)
    with av.open(str(source)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    for at, size in spans:
        data[at : at + size] = b"\xff" * size
    empty.write_bytes(data)
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(source.read_bytes().replace(b"avc1", b"zzz1"))
    for path, reason in (
        (empty, "broken|no picture"),
        (unknown, "not known here"),
    ):
        with pytest.raises(VideoFileError, match=f"{path.name}: .*({reason})") as caught:
            VideoReader(path)
        assert "Errno" not in str(caught.value)


def test_law_an_animated_webp_is_read_or_refused_in_words(tmp_path: Path) -> None:
    """FFmpeg reads it from version 8 on."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    try:
        with VideoReader(tmp_path / "a.webp") as clip:
            assert len(list(clip.pictures())) == 3
    except VideoFileError as error:
        assert str(error).startswith(
            f"{tmp_path / 'a.webp'}: an animated WebP, which cannot be read; convert"
        )


def test_an_animated_gif_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    assert copy(tmp_path / "a.gif", tmp_path / "out.mp4") is None
    assert len(times(tmp_path / "out.mp4")) == 3
