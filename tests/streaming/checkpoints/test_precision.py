"""The type that fits a device, and what was asked for before it."""

import pytest
import torch

from streaming.checkpoints.precision import choose_dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_is_served_in_bfloat16_only_where_it_has_matrix_units(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_dtype("auto", torch.device("cpu")) == expected


def test_a_release_of_torch_that_cannot_tell_is_served_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32


def test_a_gpu_is_served_in_bfloat16():
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_was_asked_for_goes_before(device):
    assert choose_dtype("float32", torch.device(device)) == torch.float32
    assert choose_dtype("bfloat16", torch.device(device)) == torch.bfloat16


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="precision must be auto, float32, bfloat16, got 'int8'"):
        choose_dtype("int8", torch.device("cpu"))
