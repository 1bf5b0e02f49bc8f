import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scripts.embedded.judging import probes
from scripts.embedded.judging.findings import NO_JUDGES
from scripts.embedded.judging.probes import (
    PROBES,
    DepthProbe,
    LookProbe,
    judge_truth,
    load_probes,
    train_probes,
)
from scripts.embedded.scenes.looks import LOOKS

CPU = torch.device("cpu")
SMALL = (32, 64)
FEW: Any = {"steps": 2, "frames_per_look": 1, "scenes": 1, "pictures": 100, "batch": 8, "size": SMALL}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probes") / "probes.safetensors"
    train_probes(path, device=CPU, **FEW)
    return path


def test_a_few_steps_train_save_and_load(trained: Path) -> None:
    judges = load_probes(trained)
    frames = torch.rand(3, 3, *SMALL) * 2 - 1
    assert len(judges.looks(frames)) == len(judges.colours(frames)) == len(judges.backgrounds(frames)) == 3
    assert set(judges.looks(frames)) <= set(LOOKS)
    assert judges.depth(frames).shape == (3, *SMALL)
    assert {"look", "colour", "background", "depth", "steps"} <= judges.figures.keys()


def test_training_repeats_with_its_seed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "judge_truth", lambda *_, **__: {})  # of the same weights
    train_probes(tmp_path / "again", device=CPU, **FEW)
    before, after = load_file(trained), load_file(tmp_path / "again")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_both_fit_into_600_kilobytes(trained: Path) -> None:
    assert trained.stat().st_size < 600_000
    for net in (LookProbe(), DepthProbe()):
        assert sum(parameter.numel() for parameter in net.parameters()) <= 150_000


def test_probes_of_other_looks_are_refused(trained: Path, tmp_path: Path) -> None:
    with safe_open(trained, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(trained), tmp_path / "old", metadata=metadata | {"looks": "gold,marble"})
    with pytest.raises(ValueError, match="gold,marble.*train again"):
        load_probes(tmp_path / "old")


def test_seeds_of_held_out_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed must be 0 ... 999999"):
        train_probes(tmp_path / "never", device=CPU, steps=1, seed=1_000_000_000)


def test_missing_probes_say_how_to_train_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="scripts.embedded.judging.probes"):
        load_probes(tmp_path / "none")


@pytest.mark.skipif(not PROBES.is_file(), reason=NO_JUDGES)
def test_kept_probes_know_true_pictures_of_held_out_scenes() -> None:
    figures = judge_truth(load_probes(), device=CPU, scenes=1, moments=1)
    assert figures["look"] >= 0.92  # of few pictures
    with safe_open(PROBES, framework="pt") as file:
        of_many = json.loads(file.metadata()["figures"])
    assert of_many["worst_plain_look"] >= 0.93  # goal 0.98, as the judges of depth alone had
    assert of_many["look"] >= 0.94  # half with gray, every colour before every background; goal 0.98
