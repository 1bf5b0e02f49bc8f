"""Checkpoints: named tensors in numbered safetensors files, and a step in JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

PART_BYTES = 15_000_000  # a checkpoint is cut into files of about this size


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write `tensors` as numbered files of at most about PART_BYTES, and `meta` as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.safetensors"):
        old.unlink()
    for number, part in enumerate(_parts(tensors)):
        save_file(part, folder / f"part-{number:02d}.safetensors")
    (folder / "meta.json").write_text(json.dumps(dict(meta)))


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_checkpoint` wrote, on the CPU; None if there is nothing."""
    if not (folder / "meta.json").is_file():
        return None
    tensors: dict[str, Tensor] = {}
    for part in sorted(folder.glob("part-*.safetensors")):
        tensors |= load_file(part)
    return tensors, json.loads((folder / "meta.json").read_text())


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if part and size + value.nbytes > PART_BYTES:
            yield part
            part, size = {}, 0
        part[name] = value.clone()
        size += value.nbytes
    if part:
        yield part
