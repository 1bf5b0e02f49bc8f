"""Stages of a chunk: their names, what follows from them, and how much arithmetic each is."""

import statistics
from collections.abc import Mapping

import torch

from scripts.bench.engine import flops
from scripts.bench.engine.flops import InFp8, Work
from streaming.api import CHUNK
from streaming.config import CHUNK_LATENTS
from streaming.controls.control_videos import ControlVideo
from streaming.engine import StreamEngine
from streaming.kernels.fp8 import Fp8Linear
from streaming.session import StreamSession

# In the order of the table; a name met nowhere is left out, any other follows.
ORDER = ("depth", "control encode", "pass", "hints", "clean pass", "decode", "copy out and rest", "chunk")
RENAMED = {"encode": "control encode", "total": "chunk", "generate": "all passes"}


def stages_of(timings: Mapping[str, float], *, guided: bool) -> dict[str, float]:
    """Stages under the names of the table, with what follows from them by subtraction."""
    found = {RENAMED.get(name, name): ms for name, ms in timings.items()}
    if "all passes" in found:  # a chunk's time includes the clean pass that the one before has left undone
        found["all passes"] += found.get("clean pass", 0.0)
    coarse = [found[name] for name in ("depth", "control encode", "all passes", "decode") if name in found]
    if "chunk" in found:
        found["copy out and rest"] = found["chunk"] - sum(coarse)
    plain = [
        found[name] - found.get(f"hints {name.removeprefix('pass ')}", 0.0)
        for name in found
        if name.startswith("pass ") and (f"hints {name.removeprefix('pass ')}" in found or not guided)
    ]
    if plain:
        found["pass without hints"] = statistics.median(plain)
    return found


def place(stage: str) -> tuple[int, str]:
    """Where a stage stands in the table."""
    kind = next((index for index, name in enumerate(ORDER) if stage.startswith(name)), len(ORDER) - 2)
    return kind, stage


def works_of(
    engine: StreamEngine, session: StreamSession, *, passes: int, videos: int, camera: bool
) -> dict[str, Work]:
    """Arithmetic by stage: transformer by formula, the other networks as PyTorch counts them. `videos`: how
    many control videos guide, depth's among them; 0: none. `camera`: passes start from it."""
    pipeline, preset = engine.pipeline, engine.pipeline.preset
    config, window = preset.transformer, preset.window.local_attn_size
    tokens = session.cache.tokens_per_latent
    transformer = pipeline.models.transformer
    fp8 = InFp8(
        products=isinstance(transformer.blocks[0].ffn[0], Fp8Linear),
        attention=transformer.parts.kv_dtype is not None,
    )
    sizes = {"tokens_per_latent": tokens, "window": window}
    plain = flops.pass_work(config, latents=CHUNK_LATENTS, fp8=fp8, **sizes)
    works = {"clean pass": plain, "pass without hints": plain}
    works["recache"] = flops.pass_work(config, latents=window, fp8=fp8, **sizes)
    assert session.recent is not None, "a stream that has run remembers its latents"
    latents = session.recent[:, -CHUNK_LATENTS:]
    works["decode"] = flops.counted(lambda: pipeline.decoder.decode(latents, session.decoder))
    hints = Work()
    if videos:
        shape = (CHUNK, 3, preset.height, preset.width)
        frames = torch.rand(shape, device=pipeline.device) * 2 - 1
        works["depth"] = flops.counted(lambda: engine.estimator.estimate(frames))
        depth = frames[:, :1].movedim(0, 1)[None]
        shown = [ControlVideo(depth, 1.0)] * videos
        works["control encode"] = flops.counted(
            lambda: pipeline.control("depth", session.control, vace_input=shown)
        )
        if camera:
            video, known = frames.movedim(0, 1)[None], session.camera
            works["control encode"] += flops.counted(
                lambda: pipeline.control.encode_camera(video, known, chunk=session.chunk)
            )
        of_one = flops.hints_work(config, latents=CHUNK_LATENTS, tokens_per_latent=tokens, fp8=fp8)
        hints = of_one.times(videos)
    for index in range(1, passes + 1):
        works[f"pass {index}"] = plain + hints
        if hints.total:
            works[f"hints {index}"] = hints
    works["all passes"] = (plain + hints).times(passes) + plain
    parts = [works[name] for name in ("depth", "control encode", "decode", "all passes") if name in works]
    works["chunk"] = sum(parts, Work())
    return works
