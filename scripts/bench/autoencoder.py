"""The Wan autoencoder alone, in every way that its convolutions can be computed: one table and JSON.

python -m scripts.bench.autoencoder --json out/vae.json
python -m scripts.bench.autoencoder --device cpu --height 32 --width 48 --dim 8 --repeats 2
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import torch
import typer

from scripts.bench.engine import machine
from scripts.bench.engine.flops import counted
from scripts.json_file import JsonFile, write_json
from streaming.engine import choose_device
from streaming.gpu.compilation import compile_autoencoder
from streaming.modules.wan_vae import WanVAE, WanVaeConfig, arrange

LAYOUTS = {
    "plain": {},
    "last": {"channels_last": True},
    "taps": {"channels_last": True, "by_taps": True},
    "own": {"channels_last": True, "by_taps": True, "own": True},
}


def main(
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    height: Annotated[int, typer.Option(min=8, help="Pixels.")] = 480,
    width: Annotated[int, typer.Option(min=8, help="Pixels.")] = 832,
    dim: Annotated[int, typer.Option(min=4, help="Width of the network; 96 as published.")] = 96,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each.")] = 10,
    compiled: Annotated[bool, typer.Option("--compile/--eager", help="Compile it first.")] = False,
    layout: Annotated[list[str] | None, typer.Option(help="plain, last, taps, own; all by default.")] = None,
    tunes: Annotated[bool, typer.Option("--tune/--no-tune", help="Let cuDNN time its kernels.")] = False,
    only: Annotated[str, typer.Option(help="encode, decode or both.")] = "both",
    json_file: JsonFile = None,
) -> None:
    """Time a running stream's encode of 12 frames and decode of 3 latents."""
    where = choose_device(device)
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = tunes
    if unknown := set(layout or ()) - set(LAYOUTS):
        raise typer.BadParameter(f"--layout takes {', '.join(LAYOUTS)}, got {', '.join(sorted(unknown))}")
    directions = ("decode", "encode") if only == "both" else (only,)
    rows: list[dict[str, Any]] = []
    typer.echo(f"{'':<50}{'ms':>10}{'TFLOP/s':>10}{'off by':>11}{'first s':>9}")
    for how in (LAYOUTS[name] for name in layout or LAYOUTS):
        torch.manual_seed(0)
        with torch.device(where):
            vae = WanVAE(replace(WanVaeConfig(), dim=dim))
        vae.to(where, dtype).eval().requires_grad_(False)
        calls = {name: _call(vae, name, height, width) for name in directions}
        plain = {name: call().float() for name, call in calls.items()}
        works = {name: counted(call).total for name, call in calls.items()}
        arrange(vae, **how)
        if compiled:
            compile_autoencoder(vae)
        for name in directions:
            row: dict[str, Any] = {"name": name, "compiled": compiled, **how}
            try:
                call = _call(vae, name, height, width)  # caches in the new layout
                row |= _timed(call, where, repeats)
                off = (call().float() - plain[name]).norm() / plain[name].norm()
                row |= {"off_by": off.item(), "tflops": works[name] / row["median_ms"] / 1e9}
            except RuntimeError as error:
                row["error"] = str(error).strip().splitlines()[0][:200]
            rows.append(row)
            typer.echo(_line(row))
        del vae, calls
        machine.free()
    write_json(json_file, {"machine": machine.about(where), "rows": rows})


def _call(vae: WanVAE, name: str, height: int, width: int) -> Callable[[], torch.Tensor]:
    """One call of a stream that has begun; draws the same input every time."""
    weight = vae.conv1.weight
    draws = torch.Generator(weight.device).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=draws, device=weight.device, dtype=weight.dtype)

    stride = vae.config.space_stride
    with torch.inference_mode():
        if name == "decode":
            latents = normal(6, vae.config.z_dim, height // stride, width // stride)
            decoder = vae.decode(latents[:, :3])[1]
            return torch.inference_mode()(lambda: vae.decode(latents[:, 3:], decoder)[0])
        video = normal(21, 3, height, width).clamp(-1, 1)
        encoder = vae.encode(video[:, :9])[1]
        return torch.inference_mode()(lambda: vae.encode(video[:, 9:], encoder)[0])


def _timed(call: Callable[[], torch.Tensor], device: torch.device, repeats: int) -> dict[str, float]:
    begin = time.perf_counter()
    call()
    machine.wait(device)
    first = time.perf_counter() - begin
    call()
    spent: list[float] = []
    for _ in range(repeats):
        machine.wait(device)
        begin = time.perf_counter()
        call()
        machine.wait(device)
        spent.append((time.perf_counter() - begin) * 1e3)
    return {"first_s": first, "median_ms": statistics.median(spent)}


def _line(row: dict[str, Any]) -> str:
    ways = [key for key in ("compiled", "channels_last", "by_taps", "own") if row.get(key)]
    title = f"{row['name']:<50}" if not ways else f"{row['name'] + ': ' + ', '.join(ways):<50}"
    if "error" in row:
        return title + row["error"]
    return (
        f"{title}{row['median_ms']:>10.2f}{row['tflops']:>10.1f}{row['off_by']:>11.1e}{row['first_s']:>9.1f}"
    )


if __name__ == "__main__":
    typer.run(main)
