"""Every training stage runs on a CPU, goes on where it stopped, and ends in files that the engine loads."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from scripts.embedded import optimizers
from scripts.embedded.data import sequences
from scripts.embedded.data.sequences import Pool, SequenceMaker, Sequences
from scripts.embedded.scenes.procedural import Surface
from scripts.embedded.stages import text
from scripts.train_embedded import app
from streaming.checkpoints.presets import UNTRAINED, packaged
from streaming.config import PipelineConfig
from streaming.pipeline import LongLivePipeline


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(autouse=True)
def gentle() -> Iterator[None]:
    """The command line sets switches of the whole process."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    yield
    cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


SMALL = ("--device", "cpu", "--small", "--steps", "1")


@pytest.fixture
def made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same clips before the same camera for all that asks for as many, and the same of a kind painted for
    every stage: they have tests of their own."""
    kept: dict[Any, Any] = {}
    clips, pictures, sequences_of = sequences.depth_clips, sequences.camera_pictures, SequenceMaker.pictured

    def pictured(
        maker: SequenceMaker, scenes: int, paints: int, kind: int
    ) -> tuple[Sequences, Tensor, Tensor]:
        key = (scenes, paints, kind, maker._gap, maker._switched, maker._started)
        if key not in kept:
            kept[key] = sequences_of(maker, scenes, paints, kind)
        clips, painted, camera = kept[key]
        return copy.copy(clips), painted, camera  # a stage keeps one caption of each

    def depth_clips(scenes: int, frames: int, generator: torch.Generator, **options: Any) -> Any:
        key = (scenes, frames, *sorted(options.items()))
        if key not in kept:
            kept[key] = clips(scenes, frames, generator, **options)
        return kept[key]

    def camera_pictures(surface: Surface, *given: Any) -> Tensor:
        if id(surface) not in kept:  # kept above, and so no other has its id
            kept[id(surface)] = pictures(surface, *given)
        return kept[id(surface)]

    monkeypatch.setattr(SequenceMaker, "pictured", pictured)
    monkeypatch.setattr(sequences, "depth_clips", depth_clips)
    monkeypatch.setattr(sequences, "camera_pictures", camera_pictures)


@pytest.mark.usefixtures("made_once")
def test_stages_follow_each_other(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "NEWTON_SCHULZ_STEPS", 1)
    monkeypatch.setattr(text, "QUERIED", Pool(batch=1, size=1, draws=1.0, scenes=1, paints=1))
    monkeypatch.setattr(text, "SLIPS", 4)
    monkeypatch.setattr(text, "HELD_OUT", text.HELD_OUT[:8])
    run("autoencoder", "--out", str(out), *SMALL, "--batch", "3", "--pool", "3")
    clips = ("--batch", "1", "--pool", "3", "--scenes", "1", "--paints", "1")
    stage = ("generator", "--out", str(out), *SMALL, *clips)
    run(*stage)
    run(*stage, "--resume")
    assert [line["step"] for line in log(out, "generator")] == [1, 2]
    run("decoder", *stage[1:])
    run("text", "--out", str(out), *SMALL, "--batch", "4")
    run("export", "--out", str(out), "--folder", str(out / "package"))
    config = PipelineConfig.from_mapping(packaged(UNTRAINED, out / "package").files)
    pipeline = LongLivePipeline(config, torch.device("cpu"), torch.float32)
    assert pipeline.models.trained
    assert pipeline(prompts="gold").isfinite().all()


def log(out: Path, stage: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{stage}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", ["autoencoder", "generator", "decoder", "text", "depth"])
def test_a_training_without_an_end_is_refused(stage: str, out: Path) -> None:
    result = CliRunner().invoke(app, [stage, "--out", str(out), "--device", "cpu"])
    assert result.exit_code == 2 and "--minutes or --steps" in result.output
