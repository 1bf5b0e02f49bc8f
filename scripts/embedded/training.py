"""The one training loop, and what it keeps: a time budget, a running average of the weights, a log.

train(stage, Run(out=Path("out/train"), world=World.join("cuda"), minutes=5))
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scripts.embedded.graphed import Gradients
from scripts.embedded.optimizers import Optimizers
from scripts.embedded.world import World

AGREE_EVERY = 10  # steps between two questions for the time: each waits for the device


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a stage: where its files lie, who trains, for how long and from which seed."""

    out: Path  # folder of the checkpoints and logs
    world: World
    minutes: float | None = None
    steps: int | None = None  # whichever comes first
    span: tuple[float, float] = (0.0, 1.0)  # the part of the whole training that this run is
    seed: int = 0
    resume: bool = False  # from the checkpoint in `out`, where the stage can begin without one


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
        return self._rise(warm_up) * min(1.0, (1 - self.share) / (1 - decay_from))

    def cosine_rate(self, *, warm_up: int) -> float:
        """The same with half a cosine from 1 to 0 after the rise."""
        return self._rise(warm_up) * (0.5 + 0.5 * math.cos(math.pi * self.share))

    def _rise(self, warm_up: int) -> float:
        return min(1.0, (self.step + 1) / warm_up)


class Ema:
    """A running average of parameters: what is evaluated and shipped."""

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

    def restore(self, modules: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Take up weights and their average from a checkpoint's model.NAME and ema.NAME."""
        with torch.no_grad():
            for name, p in modules.named_parameters():
                p.copy_(tensors[f"model.{name}"])
                self.average[name].copy_(tensors[f"ema.{name}"])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is trained, from what, and where it goes: all that one stage has of its own."""

    name: str  # of its log, NAME.jsonl
    model: nn.Module  # its parameters are averaged
    ema: Ema
    before: int  # steps of the runs that this one goes on from
    optimizers: Optimizers
    step: Callable[
        [int], tuple[Tensor, ...]
    ]  # a number from 0 -> draws a batch, adds gradients: the `figures`
    figures: tuple[str, ...]  # names of what `step` gives; the log has their means
    rate: Callable[[Budget], float]  # factor of the learning rates
    save: Callable[[int], None]  # writes the checkpoint of a step
    report_every: int  # steps
    save_every: int | None = None  # steps; None: at the end alone
    more: Callable[[], Mapping[str, float]] = dict  # what else a report holds


def train(stage: Stage, run: Run) -> None:
    """Train until the run's steps or minutes are over; report and save on the way and at the end.

    Every process of the world calls this; the first one writes. Changes `stage.model` and `stage.ema`.
    """
    budget, log = Budget(run.steps, run.minutes, run.span), Log(run.out / f"{stage.name}.jsonl", run.world)
    gradients = Gradients([p for p in stage.optimizers.parameters if p.requires_grad])
    is_first = run.world.rank == 0
    seen: list[Tensor] = []  # figures of each step since the last report

    def report(**last: str) -> None:
        if is_first:
            means = torch.stack(seen).mean(0).tolist() if seen else ()
            figures = dict(zip(stage.figures, means, strict=bool(seen)))
            log(step=stage.before + budget.step, share=budget.share, **figures, **stage.more(), **last)
        seen.clear()

    while budget.goes_on(run.world):
        gradients.flat.zero_()
        seen.append(torch.stack(stage.step(budget.step)))
        gradients.finish(run.world)
        stage.optimizers.step(stage.rate(budget))
        stage.ema.update(stage.model, stage.before + budget.step)
        budget.step += 1
        if budget.step % stage.report_every == 0:
            report()
        if is_first and stage.save_every and budget.step % stage.save_every == 0:
            stage.save(stage.before + budget.step)
    if is_first:
        stage.save(stage.before + budget.step)
    report(done="yes")
