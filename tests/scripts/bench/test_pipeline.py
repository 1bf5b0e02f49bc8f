"""The pipeline's benchmark: what it counts is what runs, and its report holds every figure asked for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch.autograd import DeviceType
from typer.testing import CliRunner

from scripts.bench import pipeline
from scripts.bench.engine import ceilings, flops, measured_engine, probe, stages, table
from streaming.api import CHUNK
from streaming.checkpoints.presets import LONGLIVE, WAN_1_3B
from streaming.config import WanConfig, WindowConfig
from streaming.kernels import hopper_convolution
from streaming.modules.causal_vace_model import CausalVaceWanModel

CPU = torch.device("cpu")
TINY = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=3, freq_dim=16, text_dim=8, text_len=5, vace_layers=(0, 2)
)


def app() -> typer.Typer:
    commands = typer.Typer()
    commands.command()(pipeline.main)
    return commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a tiny guided run prints and writes."""
    out = tmp_path_factory.mktemp("bench") / "figures" / "pipeline.json"
    arguments = (
        "--model embedded --random-weights --height 48 --width 64 --steps 2 --chunks 2 --device cpu --check 2"
    )
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
    assert "copy out and rest" in stages and list(stages)[-1] == "chunk" and "pass 3" not in stages


def test_the_other_figures_are_there(run: tuple[str, dict[str, Any]]) -> None:
    output, report = run
    assert report["fps"] > 0 and report["first_frame_ms"] > 0
    assert report["prompt_switch"]["recache"]["median_ms"] > 0
    assert report["memory_mib"]["weights"] > 1 and report["memory_mib"]["peak"] > 1
    assert report["starts"]["cold"]["warm_up_s"] > 0
    assert report["settings"]["width"] == 64 and report["settings"]["steps"] == 2
    assert "stage" in output and "ceiling" in output and "fps at 12 frames" in output


def test_how_far_the_levers_are_from_the_plain_pipeline_is_told(run: tuple[str, dict[str, Any]]) -> None:
    output, report = run
    assert not any(report["settings"]["levers"][name] for name in ("fuses", "fp8", "graphs")), "on a CPU"
    assert len(report["equality"]) == 2 and output.count("against the plain pipeline") == 2
    assert all(row["latents_rel_l2"] < 1e-5 for row in report["equality"])


def test_a_pass_whose_hints_are_not_marked_is_not_split() -> None:
    marks = {"total": 20.0, "pass 1": 4.0}
    assert "pass without hints" not in stages.stages_of(marks, guided=True)
    assert stages.stages_of(marks, guided=False)["pass without hints"] == 4


def test_the_ring_is_read_where_it_lies(run: tuple[str, dict[str, Any]]) -> None:
    """Nothing is copied out of it; beside the new tokens only the sink is written, once a chunk."""
    ring = run[1]["ring_copies"]
    assert ring["out_of"] == 0 and ring["into"] == ring["new"]
    assert 0 < ring["turned"] < ring["new"]


def test_fast_and_unguided_runs_through(tmp_path: Path) -> None:
    out = tmp_path / "fast.json"
    arguments = "--model embedded --random-weights --preset fast --guidance none --height 16 --width 16"
    rest = ["--chunks", "2", "--device", "cpu", "--no-warm-start", "--json", str(out)]
    done = CliRunner().invoke(app(), [*arguments.split(), *rest])
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert not any(name.startswith("hints") for name in report["stages"])


def test_what_cannot_run_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app(), ["--model", "none-such", "--device", "cpu"])
    assert done.exit_code == 2 and "error: model must be one of" in done.output


def test_a_pass_is_as_much_arithmetic_as_it_dispatches() -> None:
    model, window = CausalVaceWanModel(TINY).eval(), WindowConfig(local_attn_size=6, sink_size=3)
    cache = model.new_cache(window, 4, 8)
    with torch.inference_mode():
        text = model.encode_text(torch.randn(1, 5, 8))
        control = model.embed_control(torch.randn(1, 3, 96, 4, 8), 3)
        x, timestep = torch.randn(1, 3, 16, 4, 8), torch.full((1, 3), 500.0)
        model(x, timestep, text, cache, 0)
        plain = flops.counted(lambda: model(x, timestep, text, cache, 3))
        guided = flops.counted(lambda: model(x, timestep, text, cache, 3, control=control))
    of_pass = flops.pass_work(TINY, latents=3, tokens_per_latent=8, window=6)
    of_hints = flops.hints_work(TINY, latents=3, tokens_per_latent=8)
    assert of_pass.total == pytest.approx(plain.total, rel=1e-6)
    assert of_hints.total == pytest.approx(guided.total - plain.total, rel=1e-6)


def test_kernels_that_pytorch_cannot_count_are_counted_as_the_convolutions_that_they_are() -> None:
    weight, before, x = (
        torch.randn(96, 96, 3, 3, 3),
        torch.randn(1, 96, 2, 4, 6),
        torch.randn(1, 96, 3, 4, 6),
    )
    together = torch.nn.functional.pad(torch.cat([before, x], 2), (1, 1, 1, 1))
    plain = flops.counted(lambda: torch.nn.functional.conv3d(together, weight))
    narrow = [v.to("meta", torch.bfloat16) for v in (before, x, hopper_convolution.pack(weight))]
    own = flops.counted(lambda: hopper_convolution.convolve(*narrow, torch.empty(96, device="meta")))
    assert own.total == plain.total > 0
    flat, kernel = torch.randn(2, 8, 5, 7), torch.randn(4, 8, 3, 3)
    plain = flops.counted(lambda: torch.nn.functional.conv2d(flat, kernel, padding=1))
    fused = flops._convolution_relu(flat.shape, kernel.shape, (4,), out_shape=(2, 4, 5, 7))
    assert fused == plain.total > 0


def test_the_published_models_pass_is_28_teraflop() -> None:
    """As the design counted it by hand, at 832x480 with a window of 12 latents."""
    work = flops.pass_work(WAN_1_3B, latents=3, tokens_per_latent=1560, window=12)
    assert work.total / 1e12 == pytest.approx(28.3, abs=0.1)
    sizes = ceilings.sizes_for(LONGLIVE, torch.device("cuda"))
    assert (sizes.square, sizes.tokens, sizes.keys) == (8192, 4680, 18720)


def test_a_floor_adds_what_each_unit_takes() -> None:
    work = flops.Work(gemm=2e9, attention=3e9)
    assert work.floor_ms({"gemm": 1e12, "attention": 0.5e12, "fp8_gemm": None}) == pytest.approx(2 + 6)
    assert (work + flops.Work(fp8_gemm=1e9)).floor_ms({"gemm": 1e12, "attention": 1e12}) is None


def test_in_fp8_the_work_is_the_same_and_its_floor_another() -> None:
    fp8 = flops.InFp8(products=True, attention=True)
    sizes = {"latents": 3, "tokens_per_latent": 1560}
    for plain, other in (
        (flops.pass_work(WAN_1_3B, **sizes, window=12), {"window": 12}),
        (flops.hints_work(WAN_1_3B, **sizes), {}),
    ):
        make = flops.pass_work if other else flops.hints_work
        quick = make(WAN_1_3B, **sizes, **other, fp8=fp8)
        assert quick.total == pytest.approx(plain.total)
        assert quick.fp8_gemm > quick.gemm and quick.fp8_attention > quick.attention


def test_a_backend_that_is_not_here_says_so() -> None:
    sizes = ceilings.Sizes(square=16, tokens=8, keys=16, copied=1 << 16, repeats=2)
    found = {c.name: c for c in ceilings.ceilings(TINY, sizes, CPU, torch.float32)}
    assert found["attention cuDNN"].rate is None and found["attention cuDNN"].note
    flash, fp8 = found["attention flash"], found["fp8 GEMM FFN in"]
    assert flash.rate and fp8.note == "needs a GPU"
    rows = ceilings.as_rows(list(found.values()))
    assert max(row["of_best"] for row in rows if row["kind"] == "gemm") == 1


@dataclass
class Range:
    start: float
    end: float


@dataclass
class Event:
    name: str
    time_range: Range
    device_type: DeviceType = DeviceType.CPU


def test_calls_are_counted_in_every_stage_around_them() -> None:
    events = [
        Event("stage: pass 1", Range(0, 10)),
        Event("stage: hints 1", Range(1, 5)),
        Event("stage: pass 1", Range(0, 10), DeviceType.CUDA),  # the same label on the device's line
        Event("cudaLaunchKernel", Range(2, 3)),
        Event("cuLaunchKernelEx", Range(6, 7)),
        Event("cudaGraphLaunch", Range(8, 9)),
        Event("cudaStreamSynchronize", Range(12, 13)),
        Event("cudaEventSynchronize", Range(14, 15)),
    ]
    found = probe.tally(events)
    assert [found[name].kernels for name in ("chunk", "pass 1", "hints 1")] == [2, 2, 1]
    assert (found["chunk"].graphs, found["chunk"].syncs, found["pass 1"].syncs) == (1, 1, 0)
    assert found["chunk"].event_syncs == 1
    assert json.loads(json.dumps({name: asdict(calls) for name, calls in found.items()}))


def test_the_profiler_sees_the_labels() -> None:
    def run() -> None:
        with torch.profiler.record_function(probe.LABEL + "pass 1"):
            torch.ones(2).add_(1)

    assert probe.profiled(run, CPU)["pass 1"].kernels == 0


def test_what_follows_from_the_marks() -> None:
    found = stages.stages_of(
        {"total": 20, "depth": 1, "encode": 2, "generate": 10, "decode": 3, "pass 1": 4, "hints 1": 1.5}
        | {"clean pass": 3},
        guided=True,
    )
    assert found["all passes"] == 13
    assert found["copy out and rest"] == 1 and found["pass without hints"] == 2.5
    names = ["chunk", "decode", "clean pass", "pass 2", "pass 1", "depth"]
    assert sorted(names, key=stages.place) == names[::-1]


def test_steps_fall_as_the_model_was_distilled() -> None:
    assert measured_engine.falling_steps(4) == (1000, 750, 500, 250)
    assert measured_engine.falling_steps(2) == (1000, 500)


def test_goals_are_those_of_the_issue() -> None:
    goals = [table.goal_ms("chunk", *key) for key in table.GOALS]
    assert [round(CHUNK * 1e3 / (goal or 1)) for goal in goals] == [24, 33, 40, 55]
    assert table.goal_ms("pass without hints", "fast", "depth") == 40
    assert table.goal_ms("pass 1", "exact", "depth") is None
