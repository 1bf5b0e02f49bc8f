"""The pipeline's benchmark: what it counts is what runs, and its report holds every figure asked for."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scripts.bench import pipeline
from scripts.bench.engine import ceilings, chunk_costs
from streaming.checkpoints.presets import EMBEDDED, PRESETS
from tests.streaming.depth.test_estimators import save_tiny_model
from tests.streaming.tiny_preset import NARROW


def app() -> typer.Typer:
    commands = typer.Typer()
    commands.command()(pipeline.main)
    return commands


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Medians of a few chunks of a narrow model are enough to see that they are there. The processor's rates
    are measured once: they have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_costs, "SWITCHES", 1)
        patch.setattr(ceilings, "ceilings", cache(ceilings.ceilings))
        patch.setitem(PRESETS, EMBEDDED.name, NARROW)
        yield


@pytest.fixture(scope="module")
def run(few: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a tiny guided run prints and writes."""
    out = tmp_path_factory.mktemp("bench") / "figures" / "pipeline.json"
    arguments = "--model embedded --random-weights --size 32x16 --steps 2 --chunks 2 --device cpu --check 2"
    with pytest.MonkeyPatch.context() as patch:
        save_tiny_model(depth := out.parent / "depth")  # a net is counted, too
        patch.setitem(PRESETS, EMBEDDED.name, replace(NARROW, depth=str(depth)))
        done = CliRunner().invoke(app(), [*arguments.split(), "--no-warm-start", "--json", str(out)])
    assert done.exit_code == 0, done.output
    return done.output, json.loads(out.read_text())


def test_every_stage_has_a_median_a_p95_and_a_fraction_of_its_ceiling(
    run: tuple[str, dict[str, Any]],
) -> None:
    stages = run[1]["stages"]
    named = ["depth", "control encode", "pass 1", "pass 2", "hints 1", "hints 2", "clean pass", "decode"]
    for name in [*named, "chunk"]:
        stage = stages[name]
        assert 0 < stage["median_ms"] <= stage["p95_ms"] and stage["of_ceiling"] > 0, name
        assert stage["goal_ms"] is None, "goals are for another model and size"
    for name in ("depth while it fills", "depth once it is full"):
        assert 0 < stages[name]["median_ms"] <= stages[name]["p95_ms"] and stages[name]["floor_ms"] is None
    assert "copy out and rest" in stages and list(stages)[-1] == "chunk" and "pass 3" not in stages


def test_the_other_figures_are_there(run: tuple[str, dict[str, Any]]) -> None:
    output, report = run
    assert report["fps"] > 0 and report["first_frame_ms"] > 0
    assert report["prompt_switch"]["recache"]["median_ms"] > 0
    assert report["memory_mib"]["weights"] > 1 and report["memory_mib"]["peak"] > 1
    assert report["starts"]["cold"]["warm_up_s"] > 0
    assert report["settings"]["width"] == 32 and report["settings"]["steps"] == 2
    assert report["settings"]["gpus"] == 1
    assert "stage" in output and "ceiling" in output and "fps at 12 frames" in output


def test_how_far_the_optimizations_are_from_the_plain_pipeline_is_told(
    run: tuple[str, dict[str, Any]],
) -> None:
    output, report = run
    assert not any(report["settings"]["optimizations"][name] for name in ("fuses", "fp8", "graphs")), (
        "on a CPU"
    )
    assert len(report["equality"]) == 2 and output.count("against the plain pipeline") == 2
    assert all(row["latents_rel_l2"] < 1e-5 for row in report["equality"])


def test_the_ring_is_read_where_it_lies(run: tuple[str, dict[str, Any]]) -> None:
    """Nothing is copied out of it; beside the new tokens only the sink is written, once a chunk."""
    ring = run[1]["ring_copies"]
    assert ring["out_of"] == 0 and ring["into"] == ring["new"]
    assert 0 < ring["turned"] < ring["new"]


def test_fast_and_unguided_runs_through(tmp_path: Path) -> None:
    out = tmp_path / "fast.json"
    arguments = "--model embedded --random-weights --preset fast --guidance none --size 16x16"
    rest = ["--chunks", "2", "--device", "cpu", "--no-warm-start", "--json", str(out)]
    done = CliRunner().invoke(app(), [*arguments.split(), *rest])
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert not any(name.startswith("hints") for name in report["stages"])


def test_a_start_from_the_camera_has_a_table_for_each_noise_scale(tmp_path: Path) -> None:
    """With the passes that are left of four, and the camera's encoding."""
    out = tmp_path / "noise.json"
    arguments = "--model embedded --random-weights --guidance noise --steps 4 --size 16x16"
    rest = ["--chunks", "2", "--device", "cpu", "--no-warm-start", "--json", str(out)]
    done = CliRunner().invoke(app(), [*arguments.split(), *rest])
    assert done.exit_code == 0, done.output
    reports = json.loads(out.read_text())
    assert [report["settings"]["noise_scale"] for report in reports] == [1.0, 0.8, 0.6]
    passes = [[name for name in report["stages"] if re.fullmatch(r"pass \d", name)] for report in reports]
    assert list(map(len, passes)) == [4, 2, 1]
    encoded = [report["stages"]["control encode"]["tflop"] for report in reports]
    assert encoded[0] < encoded[1] == encoded[2]


def test_each_latency_has_a_table_of_what_it_sets(tmp_path: Path) -> None:
    """In one call: 4, 3, 2 passes, and one from the camera."""
    out = tmp_path / "latency.json"
    arguments = "--model embedded --random-weights --guidance latency --steps 4 --size 16x16"
    rest = ["--chunks", "2", "--device", "cpu", "--no-warm-start", "--json", str(out)]
    done = CliRunner().invoke(app(), [*arguments.split(), *rest])
    assert done.exit_code == 0, done.output
    reports = json.loads(out.read_text())
    settings = [report["settings"] for report in reports]
    assert [one["guidance"] for one in settings] == [
        "depth",
        "latency low",
        "latency lower",
        "latency lowest",
    ]
    assert [(one["steps"], one["noise_scale"]) for one in settings] == [
        (4, 1.0),
        (3, 1.0),
        (2, 1.0),
        (1, 0.6),
    ]
    passes = [[name for name in report["stages"] if re.fullmatch(r"pass \d", name)] for report in reports]
    assert list(map(len, passes)) == [4, 3, 2, 1]
    assert "latency lowest" in done.output.splitlines()[-1]


def test_several_ranks_are_measured_and_told_in_table_and_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the preset that the other processes find, too."""
    monkeypatch.setitem(PRESETS, EMBEDDED.name, EMBEDDED)
    out = tmp_path / "two.json"
    arguments = "--model embedded --random-weights --size 32x16 --steps 2 --chunks 2 --device cpu"
    rest = ["--gpus", "2", "--check", "2", "--no-warm-start", "--json", str(out)]
    done = CliRunner().invoke(app(), [*arguments.split(), *rest])
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert report["settings"]["gpus"] == 2 and "; 2 x " in done.output.splitlines()[0]
    assert all(row["latents_rel_l2"] < 1e-5 for row in report["equality"]), "beside one process"
    ring = report["ring_copies"]
    assert ring["into"] == ring["new"]


@pytest.mark.parametrize(
    ("gpus", "words"),
    [("0", "expected 1 or more, or auto, got '0'"), ("x", "got 'x'"), ("2", "there is no GPU here, got 2")],
)
def test_gpus_that_are_not_there_are_said(monkeypatch: pytest.MonkeyPatch, gpus: str, words: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = CliRunner().invoke(app(), ["--model", "embedded", "--gpus", gpus])
    assert done.exit_code == 2 and words in done.output


def test_what_cannot_run_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app(), ["--model", "none-such", "--device", "cpu"])
    assert done.exit_code == 2 and "error: model must be one of" in done.output
