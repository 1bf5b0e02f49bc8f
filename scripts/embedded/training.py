"""What every training stage needs: a time budget, several GPUs, a running average of the weights,
checkpoints."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

AGREE_EVERY = 10  # steps between two questions for the time: each waits for the device
PART_BYTES = 15_000_000  # a checkpoint is cut into files of about this size


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together; one without torchrun."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> "World":
        """Under torchrun one GPU a process, otherwise `device` alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, torch.device(device))
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
        dist.init_process_group("nccl", device_id=where)
        return cls(dist.get_rank(), size, where)

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()


@dataclass(slots=True)
class Budget:
    """How far training goes: a number of steps, or minutes; learning rates follow the share that is done."""

    steps: int | None
    minutes: float | None
    span: tuple[float, float] = (0.0, 1.0)  # the part of the whole training that this run is
    began: float = field(default_factory=time.monotonic)
    step: int = 0
    share: float = 0.0  # 0 ... 1 of the whole training that is over

    def goes_on(self, world: "World") -> bool:
        """Whether there is another step. All processes agree, or one would wait for ever for the others."""
        of_steps = self.step / self.steps if self.steps else 0.0
        of_time = (time.monotonic() - self.began) / (60 * self.minutes) if self.minutes else 0.0
        begin, end = self.span
        done = max(of_steps, of_time)
        share = end if done >= 1 else begin + (end - begin) * done
        if world.size == 1:
            self.share = share
        elif self.step % AGREE_EVERY == 0:
            agreed = torch.tensor(share, device=world.device)
            dist.broadcast(agreed, 0)
            self.share = agreed.item()
        return self.share < end

    def rate(self, *, warm_up: int = 100, decay_from: float = 0.3) -> float:
        """Factor of the learning rate: a rise over `warm_up` steps, level, then down to 0 in a straight
        line."""
        return min(1.0, (self.step + 1) / warm_up) * min(1.0, (1 - self.share) / (1 - decay_from))


class Ema:
    """A running average of parameters and buffers: what is evaluated and shipped."""

    def __init__(self, modules: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone().float() for name, p in modules.named_parameters()}

    @torch.no_grad()
    def update(self, modules: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        named = list(modules.named_parameters())
        averages, current = [self.average[name] for name, _ in named], [p.detach() for _, p in named]
        # One kernel instead of one a tensor; optimizers use it too, yet it has no public name.
        torch._foreach_lerp_(averages, current, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def copy_to(self, modules: nn.Module) -> None:
        with torch.no_grad():
            for name, p in modules.named_parameters():
                p.copy_(self.average[name])


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


class Log:
    """One JSON line a report, to the terminal and to a file; only the first process writes."""

    def __init__(self, path: Path, world: World) -> None:
        self._path = path if world.rank == 0 else None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()

    def __call__(self, **values: float | int | str) -> None:
        if self._path is None:
            return
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
        line = json.dumps({"s": round(time.monotonic() - self._began, 1)} | rounded)
        print(line, flush=True)
        with self._path.open("a") as file:
            file.write(line + "\n")
