"""Every model part against the numbers of the public references. `-s` prints the table."""

from dataclasses import replace

import pytest
import torch

from tests.parity.adapter import CASES
from tests.parity.cases import ROOT, load_case

# What an adapter may leave out, with its reason at the top of adapter.py.
COUNTERS = {"global_end_index", "local_end_index", "n_forward_calls"}
UNROTATED = {"causal_dit_infinity", "pipeline_switch_infinity"}


@pytest.mark.parametrize("name", sorted(CASES))
@torch.no_grad()
def test_reproduces_the_reference(name: str) -> None:
    case = load_case(name)
    got = CASES[name](case)
    worst = max(case.check(key, value) for key, value in got.items())
    left_out = {key for key in case.outputs.keys() - got.keys() if not key.startswith("scope_")} - COUNTERS
    if name in UNROTATED:
        left_out = {key for key in left_out if not key.startswith("kcache")}
    assert not left_out, f"{name}: not covered: {sorted(left_out)}"
    print(f"\n{name:32s} {len(got):3d} outputs, largest difference {worst:.2e}", end="")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(CASES))
@torch.no_grad()
def test_reproduces_the_reference_on_a_gpu(name: str) -> None:
    """In float32 without TF32; other kernels sum in another order, so the bounds are twice as wide."""
    case = load_case(name).to("cuda")
    bounds = {key: 2 * value for key, value in case.meta["recommended_fp32"].items()}
    case = replace(case, meta=case.meta | {"recommended_fp32": bounds})
    with torch.device("cuda"), torch.backends.cudnn.flags(allow_tf32=False):
        got = CASES[name](case)
    for key, value in got.items():
        case.check(key, value)


def test_no_case_is_forgotten() -> None:
    not_targets = {"vace_encode_scope"}  # scope's quirks, not the original's
    assert {path.stem for path in ROOT.glob("*.safetensors")} - CASES.keys() == not_targets
