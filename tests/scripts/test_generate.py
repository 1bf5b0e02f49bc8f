"""A video file goes in, and comes out repainted: as many pictures, in their order, at their times."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from scripts import generate
from scripts.generate import Transition, parse_transition, repaint
from scripts.video_file import Picture, VideoReader, VideoWriter
from streaming.api import ChunkParameters, ChunkResult
from streaming.checkpoints.presets import PRESETS, UNTRAINED
from streaming.engine import StreamEngine
from tests.e2e.camera import clip_path
from tests.scripts.clips import packets, write_clip

app = typer.Typer()
app.command()(generate.main)


@dataclass
class FakeStream:
    """Gives every picture back with its number one higher, and remembers what it was asked."""

    asked: list[tuple[list[int], ChunkParameters]] = field(default_factory=list)

    @property
    def frames_wanted(self) -> int:
        return 12 if self.asked else 9

    def step(self, frames, controls: ChunkParameters) -> ChunkResult:
        assert len(frames) == self.frames_wanted
        self.asked.append(([int(frame[0, 0, 0]) for frame in frames], controls))
        return ChunkResult(
            frames=np.stack(frames) + 1,
            chunk=0,
            first_frame=0,
            frames_in_chunk=len(frames),
            generation=0,
            guidance_scale=1.0,
        )


def pictures(count: int) -> list[Picture]:
    return [Picture(np.full((2, 2, 3), n, np.uint8), 7 + 3 * n, n / 10) for n in range(count)]


@pytest.mark.parametrize("count", [1, 8, 9, 10, 20, 21, 22, 33, 40])
def test_as_many_pictures_come_out_in_order_and_at_their_times(count: int) -> None:
    given = pictures(count)
    painted = list(repaint(FakeStream(), iter(given)))
    assert [picture.pixels[0, 0, 0] for picture in painted] == [n + 1 for n in range(count)]
    assert [(p.pts, p.seconds) for p in painted] == [(p.pts, p.seconds) for p in given]


def test_every_picture_is_shown_to_the_model_once_and_only_the_last_one_repeats() -> None:
    stream = FakeStream()
    list(repaint(stream, pictures(25)))
    assert [number for numbers, _ in stream.asked for number in numbers] == [*range(25)] + [24] * 8


def test_nothing_in_gives_nothing_out() -> None:
    stream = FakeStream()
    assert list(repaint(stream, [])) == [] and stream.asked == []


def test_pictures_are_read_a_chunk_at_a_time() -> None:
    """A clip may be longer than the memory."""
    read = []

    def reading():
        for picture in pictures(100):
            read.append(picture)
            yield picture

    assert len(list(islice(repaint(FakeStream(), reading()), 10))) == 10
    assert len(read) == 21


def test_a_prompt_changes_with_the_first_chunk_that_begins_then_or_later() -> None:
    stream = FakeStream()  # chunks begin at 0.0, 0.9, 2.1 and 3.3 s
    changes = [Transition(2.2, "c"), Transition(0.9, "a"), Transition(2.15, "b"), Transition(60, "never")]
    list(repaint(stream, pictures(45), changes, scale=0.5))
    asked = [controls.prompts for _, controls in stream.asked]
    assert asked == [None, (("a", 1.0),), None, (("c", 1.0),)]
    assert {controls.guidance_scale for _, controls in stream.asked} == {0.5}
    assert {controls.transition for _, controls in stream.asked} == {"recache"}


def test_a_transition_is_seconds_and_a_prompt() -> None:
    assert parse_transition("4.5:a summer: meadow ") == Transition(4.5, "a summer: meadow")


@pytest.mark.parametrize(
    "text", ["", "meadow", "4.5", "4.5:", "4.5: ", "-1:meadow", "nan:meadow", "inf:meadow"]
)
def test_any_other_transition_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected SECONDS:PROMPT"):
        parse_transition(text)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def cut(source: Path, target: Path, frames: int) -> Path:
    """The beginning of a clip, as wide as coders like it."""
    with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
        for picture in islice(clip.pictures(), frames):
            out.write(replace(picture, pixels=picture.pixels[:, :192].copy()))
    return target


def coarse(pixels: np.ndarray) -> np.ndarray:
    """What coding keeps of a noisy picture: brightness, patch by patch."""
    return pixels.mean(-1).reshape(18, 8, 32, 8).mean((1, 3))


@pytest.fixture(scope="module", autouse=True)
def untrained() -> Iterator[None]:
    """What is tested is the command, whatever the weights are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "embedded", UNTRAINED)
        yield


@pytest.fixture(scope="module")
def engine(untrained: None) -> StreamEngine:
    return StreamEngine.load(model="embedded", depth="edges", device="auto", seed=3)


def test_a_real_clip_keeps_its_length_times_and_rate(tmp_path: Path, engine: StreamEngine) -> None:
    """And its pictures are those of the engine, each in its place."""
    source, target = cut(clip_path(), tmp_path / "in.mp4", 13), tmp_path / "out.mp4"
    options = ("--transition", "0.3:clay", "--seed", 3)
    result = run("--input", source, "--prompt", "gold", "--output", target, *options)
    assert result.exit_code == 0, result.output
    assert "embedded (untrained), 256x144, 2 steps, depth edges, on" in result.output
    assert "13 frames in" in result.output
    with VideoReader(source) as clip, VideoReader(target) as painted:
        before, after = list(clip.pictures()), list(painted.pictures())
        assert (painted.rate, painted.num_frames) == (clip.rate, 13) == (Fraction(30000, 1001), 13)
    assert [picture.pts for picture in after] == [picture.pts for picture in before]
    assert {picture.pixels.shape for picture in after} == {(144, 256, 3)}
    wanted = repaint(engine.open(prompt="gold", seed=3), before, [Transition(0.3, "clay")])
    patches = np.stack([coarse(picture.pixels) for picture in wanted])
    nearest = [np.abs(patches - coarse(picture.pixels)).mean((1, 2)).argmin() for picture in after]
    assert nearest == list(range(13))


def test_sound_comes_along(tmp_path: Path, engine: StreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = SimpleNamespace(info=engine.info, open=lambda **_options: FakeStream())
    monkeypatch.setattr(StreamEngine, "load", lambda **_options: quick)
    source = write_clip(tmp_path / "in.mp4", range(0, 3003, 1001), audio="aac")
    for kind, said in ((".mp4", ""), (".webm", "without sound: .webm files cannot hold aac audio")):
        result = run("-i", source, "-p", "gold", "-o", tmp_path / f"out{kind}")
        assert result.exit_code == 0 and said in result.output
    assert [data for _, data in packets(tmp_path / "out.mp4")] == [data for _, data in packets(source)]


def test_errors_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", [0])
    target = tmp_path / "out.mp4"
    for changed, said in (
        ({"--input": tmp_path / "missing.mp4"}, "missing.mp4: no such file"),
        ({"--output": tmp_path / "nowhere" / "out.mp4"}, "out.mp4: cannot be written: No such file"),
        ({"--model": "sora"}, "model must be one of"),
        ({"--depth": str(tmp_path)}, "depth model"),
        ({"--device": "tpu"}, "device 'tpu' is not available here"),
    ):
        given = {"--input": source, "--prompt": "gold", "--output": target} | changed
        result = run(*(word for option in given.items() for word in option))
        assert result.exit_code == 1
        assert result.output.startswith("error: ") and said in result.output.replace("\n", " ")
        assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
