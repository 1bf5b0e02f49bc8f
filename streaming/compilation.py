"""The networks' hot parts, compiled. Numbers stay those of the eager parts, up to rounding.

A part is compiled once for all layers that share it: weights are inputs of what is compiled, and neither the
layer's index nor how full the ring is nor the strength of guidance is a constant of it. Matrix products stay
those of the vendor's library, which are near the chip's rate at these sizes; searching for better ones takes
minutes at every start. Attention stays outside: its kernels are the library's own.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from streaming.modules.causal_model import Head, WanBlock
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.wan_vae import Decoder, Encoder, WanVAE

# Shapes that one part may meet: chunks, recaches of a window that fills, one to three references beside a
# chunk; for blocks and for those of the branch. More than that is a fault, and is raised as one.
SHAPES_AT_MOST = 16

PARTS: dict[type, tuple[str, ...]] = {
    WanBlock: ("enter", "enter_ring", "turn_to_text", "leave"),
    Head: ("forward",),
}


def keep_compiled(folder: Path) -> None:
    """Keep what is compiled below `folder`, for the next start. To be called before anything compiles; what
    the environment says goes before."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def compile_transformer(model: CausalVaceWanModel, backend: str = "inductor") -> None:
    """From now on the parts of `model` run compiled; the first call of each, and of each shape, takes
    seconds."""
    for owner, names in PARTS.items():
        for name in names:
            compiled = _compiled(getattr(owner, name), backend)
            for module in model.modules():
                if isinstance(module, owner):
                    setattr(module, name, functools.partial(compiled, module))
    model.scaled = _compiled(CausalVaceWanModel.scaled, backend)


def compile_autoencoder(vae: WanVAE, backend: str = "inductor") -> None:
    """Compile what a stream in progress runs. Its first chunk stays eager: it has shapes of its own, and
    comes once."""
    for part in (vae.encoder, vae.decoder):
        owner = type(part)
        assert owner in (Encoder, Decoder)
        part.go_on = functools.partial(_compiled(owner.go_on, backend), part)


def _compiled(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES_AT_MOST)
    return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
