"""The course of a training: a time budget, a running average of the weights, a log."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from scripts.embedded.world import World

AGREE_EVERY = 10  # steps between two questions for the time: each waits for the device


@dataclass(slots=True)
class Budget:
    """How far training goes: a number of steps, or minutes; learning rates follow the share that is done."""

    steps: int | None
    minutes: float | None
    span: tuple[float, float] = (0.0, 1.0)  # the part of the whole training that this run is
    began: float = field(default_factory=time.monotonic)
    step: int = 0
    share: float = 0.0  # 0 ... 1 of the whole training that is over

    def goes_on(self, world: World) -> bool:
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
