"""Ceilings are of the model's own shapes, and say what cannot run here."""

import torch

from scripts.bench.engine import ceilings
from streaming.checkpoints.presets import LONGLIVE
from streaming.config import WanConfig

TINY = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=3, freq_dim=16, text_dim=8, text_len=5, vace_layers=(0, 2)
)


def test_on_a_gpu_the_shapes_are_the_models() -> None:
    sizes = ceilings.sizes_for(LONGLIVE, torch.device("cuda"))
    assert (sizes.square, sizes.tokens, sizes.keys) == (8192, 4680, 18720)


def test_a_backend_that_is_not_here_says_so() -> None:
    sizes = ceilings.Sizes(square=16, tokens=8, keys=16, copied=1 << 16, repeats=2)
    found = {c.name: c for c in ceilings.ceilings(TINY, sizes, torch.device("cpu"), torch.float32)}
    assert found["attention cuDNN"].rate is None and found["attention cuDNN"].note
    flash, fp8 = found["attention flash"], found["fp8 GEMM FFN in"]
    assert flash.rate and fp8.note == "needs a GPU"
    rows = ceilings.as_rows(list(found.values()))
    assert max(row["of_best"] for row in rows if row["kind"] == "gemm") == 1
