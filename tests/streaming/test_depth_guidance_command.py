"""The feature document's check: it runs, writes what it says, and its verdict can fail."""

import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from streaming import test_depth_guidance as command
from streaming.checkpoints.presets import PRESETS, UNTRAINED
from streaming.pipeline import GenerationFailed, LongLivePipeline
from streaming.vace_utils import extract_depth_chunk, preprocess_depth_frames

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is the command, whatever the weights are."""
    monkeypatch.setitem(PRESETS, "embedded", replace(UNTRAINED, height=SIZE[0], width=SIZE[1]))


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_it_writes_both_videos_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--output-dir", str(tmp_path / "new" / "out"), "--chunks", "2"]) == 0
    said = capsys.readouterr().out
    for words in (
        "model   embedded (untrained), 96x64",
        "depth   (24, 64, 96) -> (1, 1, 24, 64, 96) within [-0.80, 1.00]",
        "chunk 0 (1, 1, 12, 64, 96) -> (9, 64, 96, 3), ms: encode",
        "chunk 1 (1, 1, 12, 64, 96) -> (12, 64, 96, 3), ms: encode",
        "pass    frame count: 21, expected 21",
        "pass    depth has an effect",
    ):
        assert words in said
    assert "FAIL" not in said
    output, depth = (frames_of(tmp_path / "new" / "out" / f"{name}.mp4") for name in ("output", "depth"))
    assert output.shape == depth.shape == (21, 64, 96, 3)
    # Frame k of one belongs to frame k of the other: a first chunk leaves out the oldest 3 of its 12.
    maps = command.synthetic_depth(24, 64, 96)[3:]
    assert np.abs(depth[..., 0] / 255 - maps).mean() < 0.02


def test_it_generates_what_the_documents_loop_does() -> None:
    config = {"height": SIZE[0], "width": SIZE[1], "seed": 5}
    pipeline = LongLivePipeline(config, device=torch.device("cpu"), dtype=torch.float32)
    depth = preprocess_depth_frames(command.synthetic_depth(24, *SIZE), *SIZE, "cpu", value_range=(0.0, 1.0))
    chunks = list(command.generate(pipeline, depth, "gold", seed=5))
    for index, chunk in enumerate(chunks):
        output = pipeline(
            prompts=[{"text": "gold", "weight": 100}],
            guidance_mode="depth",
            vace_input=extract_depth_chunk(depth, index, 12),
            vace_context_scale=1.0,
        )
        assert torch.equal(chunk.guided, output)
    assert len(chunks) == 2 and not torch.equal(chunks[1].unguided, chunks[1].guided)


def test_a_ball_crosses_before_a_floor() -> None:
    maps = command.synthetic_depth(33, *SIZE)
    assert maps.shape == (33, *SIZE) and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1
    is_ball = maps > 0.6
    assert (is_ball.mean((1, 2)) > 0.05).all()
    middles = [np.nonzero(ball)[1].mean() for ball in is_ball]
    assert (np.diff(middles) > 0).all() and middles[-1] - middles[0] > SIZE[1] / 3
    first = np.where(is_ball[0], np.nan, maps[0])
    assert (np.diff(np.nanmean(first, axis=1)) > 0).all()  # the floor comes nearer towards its lower edge


def video(frames: int = 9) -> torch.Tensor:
    return torch.rand(frames, 8, 8, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("guided", "unguided", "failing"),
    [
        (video(), 1 - video(), set()),
        (
            video().index_fill(0, torch.tensor([4]), float("nan")),
            1 - video(),
            {"finite", "not constant", "depth has an effect"},
        ),
        (video(8), 1 - video(8), {"frame count"}),
        (torch.zeros(9, 8, 8, 3), video(), {"not constant"}),
        (video(), video(), {"depth has an effect"}),
        (video(), video() + 1e-4, {"depth has an effect"}),
    ],
    ids=["good", "nan", "too short", "black", "no effect", "an effect nobody sees"],
)
def test_the_verdict_names_what_is_wrong(guided, unguided, failing) -> None:
    checks = command.verdict(guided, unguided, expected_frames=9)
    assert {check.name for check in checks if not check.holds} == failing


def test_values_that_are_not_finite_fail_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object) -> None:
        raise GenerationFailed("chunk 0: decode gave values that are not finite")

    monkeypatch.setattr(command, "generate", broken)
    assert command.main(["--output-dir", str(tmp_path), "--chunks", "1"]) == 1
    assert "FAIL    finite: chunk 0: decode" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--model", "sora", "model must be one of"), ("--device", "tpu", "device 'tpu' is not available here")],
)
def test_what_cannot_start_is_named(
    tmp_path: Path, option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--output-dir", str(tmp_path), option, value]) == 2
    assert said in capsys.readouterr().out


def test_no_chunks_are_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--chunks", "0"])


@pytest.mark.parametrize("frames", [1, 9, 45])
def test_without_pyav_pictures_are_written(
    tmp_path: Path, frames: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    pictures = np.random.default_rng(0).integers(0, 256, (frames, 6, 8, 3), np.uint8)
    sheet, array = command.write_video(tmp_path / "depth.mp4", pictures)
    assert "no depth.mp4: PyAV is not installed" in capsys.readouterr().out
    assert np.array_equal(np.load(array), pictures)
    shown = np.asarray(Image.open(sheet))
    assert np.array_equal(shown[:6, :8], pictures[0])
    assert any(
        np.array_equal(cell, pictures[-1])
        for row in np.split(shown, len(shown) // 6)
        for cell in np.split(row, shown.shape[1] // 8, axis=1)
    )


def test_nothing_in_it_is_for_pytest() -> None:
    assert not [name for name in vars(command) if name.lower().startswith("test")]
