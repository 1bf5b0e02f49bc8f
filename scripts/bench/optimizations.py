"""Gain of each optimization of streaming/acceleration.py in one pass of the transformer: one table and JSON.

python -m scripts.bench.optimizations --json out/optimizations.json
python -m scripts.bench.optimizations --model embedded --device cpu --only plain --only pack --repeats 2

They are added one after the other, in the order of the table; every row is a fresh model with the same
drawn weights, a full window and the same inputs, so that rows can be compared with the first.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from scripts.bench.engine import machine, measured_engine
from scripts.bench.engine.ceilings import median_ms
from scripts.json_file import JsonFile, write_json
from streaming.acceleration import Optimizations, accelerate
from streaming.blocks.recache import recache
from streaming.chunk_passes import PendingCleanPass
from streaming.config import CHUNK_LATENTS
from streaming.engine import choose_device
from streaming.pipeline import LongLivePipeline

# What each row adds to the one before it.
LADDER: dict[str, dict[str, Any]] = {
    "plain": {},
    "pack": {"packs": True},
    "fuse": {"fuses": True},
    "fa3": {"attention": "fa3"},
    "graphs": {"graphs": True},
    "beside": {"side_stream": True},
    "fp8": {"fp8": True},
    "fp8 attention": {"fp8_attention": True},
}


def main(
    model: Annotated[str, typer.Option(help="A preset: longlive-1.3b or embedded.")] = "longlive-1.3b",
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    only: Annotated[
        list[str] | None, typer.Option(help=f"Rows, in order: {', '.join(LADDER)}; all by default.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes of each kind.")] = 15,
    json_file: JsonFile = None,
) -> None:
    """Time passes over a full window, one optimization after the other."""
    where, rows, so_far = choose_device(device), list[dict[str, Any]](), dict[str, Any]()
    if unknown := set(only or ()) - set(LADDER):
        raise typer.BadParameter(f"--only takes {', '.join(LADDER)}, got {', '.join(sorted(unknown))}")
    reference: Tensor | None = None
    typer.echo(
        f"{'with':<14}{'guided ms':>11}{'plain ms':>10}{'hints':>8}{'recache':>9}{'first s':>9}{'off by':>10}"
    )
    with machine.cold_cache():
        for name in only or LADDER:
            so_far |= LADDER[name]
            row, flow = _measured(model, where, Optimizations(**so_far), repeats)
            reference = flow if reference is None else reference
            row: dict[str, Any] = {
                "added": name,
                **row,
                "off_by": ((flow - reference).norm() / reference.norm()).item(),
            }
            rows.append(row)
            typer.echo(
                f"{name:<14}{row['guided_ms']:>11.2f}{row['plain_ms']:>10.2f}"
                f"{row['guided_ms'] - row['plain_ms']:>8.2f}{row['recache_ms']:>9.1f}"
                f"{row['first_s']:>9.1f}{row['off_by']:>10.1e}"
            )
    write_json(json_file, {"machine": machine.about(where), "model": model, "rows": rows})


@torch.inference_mode()
def _measured(
    model: str, device: torch.device, optimizations: Optimizations, repeats: int
) -> tuple[dict[str, Any], Tensor]:
    """The row, and the flow of a guided pass."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    pipeline = measured_engine.build(model, device, dtype, drawn=True, fast=True).pipeline
    accelerate(pipeline, optimizations)
    begin = time.perf_counter()
    run = _Passes(pipeline)
    run.guided()
    machine.wait(device)
    first = time.perf_counter() - begin
    flow = run.guided().float().cpu()
    row = {
        "optimizations": dataclasses.asdict(optimizations),
        "first_s": first,
        "guided_ms": median_ms(device, [run.guided], repeats),
        "plain_ms": median_ms(device, [run.plain], repeats),
        "recache_ms": median_ms(device, [run.recache], max(1, repeats // 5)),
    }
    del pipeline, run
    machine.free()
    return row, flow


class _Passes:
    """A stream whose window is full, in the middle of a guided chunk."""

    guided: Callable[[], Tensor]
    plain: Callable[[], None]
    recache: Callable[[], None]

    def __init__(self, pipeline: LongLivePipeline) -> None:
        preset, passes, transformer = pipeline.preset, pipeline.passes, pipeline.models.transformer
        draws = torch.Generator(pipeline.device).manual_seed(0)

        def normal(latents: int, channels: int) -> Tensor:
            size = (1, latents, channels, *preset.latent_size)
            return torch.randn(size, generator=draws, device=pipeline.device, dtype=pipeline.dtype)

        channels = preset.transformer.in_dim
        control = transformer.embed_control(
            normal(CHUNK_LATENTS, preset.transformer.vace_in_dim), CHUNK_LATENTS
        )
        text = torch.randn(1, 32, preset.transformer.text_dim, generator=draws, device=pipeline.device)
        context = transformer.encode_text(text.to(pipeline.dtype))
        cache, window = pipeline.open_session(seed=0).cache, preset.window.local_attn_size
        for start in range(0, 2 * window, CHUNK_LATENTS):
            chunk = passes.begin(cache, start, context, control)
            passes.write_clean_kv(PendingCleanPass(chunk, normal(CHUNK_LATENTS, channels)))
        chunk = passes.begin(cache, 2 * window, context, control)
        noisy, recent = normal(CHUNK_LATENTS, channels), normal(window, channels)
        self.guided = lambda: passes.denoise(chunk, noisy, 750.0)
        self.plain = lambda: passes.write_clean_kv(PendingCleanPass(chunk, noisy))
        self.recache = lambda: recache(transformer, recent, context, cache)


if __name__ == "__main__":
    typer.run(main)
