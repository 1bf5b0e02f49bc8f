"""The generator with its VACE branch and its text encoder: flow matching with teacher forcing."""

import random
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.embedded.checkpoints import load_checkpoint, save_checkpoint
from scripts.embedded.data.sequences import KIND_SHARES, PLAIN, REFERRED, SequenceMaker, Stock
from scripts.embedded.graphed import Gradients, Graphed
from scripts.embedded.optimizers import Muon
from scripts.embedded.stages.autoencoder import load_autoencoder
from scripts.embedded.stages.lessons import Generator, Lessons
from scripts.embedded.stages.teacher import compile_blocks, predict_flow
from scripts.embedded.training import Budget, Ema, Log
from scripts.embedded.world import World
from streaming.models import Models
from streaming.presets import EMBEDDED, Preset

MUON_RATE, ADAM_RATE = 1.5e-3, 1.5e-3


class Optimizers:
    """Muon for the matrices inside blocks, AdamW for everything else."""

    def __init__(self, generator: Generator) -> None:
        named = list(generator.named_parameters())
        is_matrix = {
            name: p.ndim == 2 and "block" in name and not re.search("shared|bias|modulation", name)
            for name, p in named
        }
        self.muon = Muon([p for name, p in named if is_matrix[name]])
        others = [p for name, p in named if not is_matrix[name]]
        self.adam = torch.optim.AdamW(
            others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=others[0].is_cuda
        )

    def step(self, factor: float) -> None:
        self.muon.step(MUON_RATE * factor)
        for group in self.adam.param_groups:
            group["lr"] = ADAM_RATE * factor
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments, in half the bits."""
        state = {f"muon.{n}": momentum.bfloat16() for n, momentum in enumerate(self.muon.momenta)}
        for index, moments in self.adam.state_dict()["state"].items():
            for key, value in moments.items():
                state[f"adam.{index}.{key}"] = value.bfloat16() if value.ndim else value
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Take moments up again; of a checkpoint without any they stay zero."""
        if not state:
            return
        for n, momentum in enumerate(self.muon.momenta):
            momentum.copy_(state[f"muon.{n}"])
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, index, key = name.split(".")
                adam.setdefault(int(index), {})[key] = value.float()
        self.adam.load_state_dict(self.adam.state_dict() | {"state": adam})


def train_generator(
    out: Path,
    tokenizer_folder: Path,
    *,
    world: World,
    minutes: float | None,
    steps: int | None,
    batch: int = 32,
    pool: int = 4096,
    draws: float = 5.0,
    scenes: int = 4,
    paints: int = 6,
    seed: int = 0,
    resume: bool = False,
    preset: Preset = EMBEDDED,
    compiled: bool = False,
    span: tuple[float, float] = (0.0, 1.0),
) -> Generator:
    """Train on the autoencoder below `out`; save checkpoints there and return the averaged weights.

    A clip is drawn `draws` times on average before another takes its place in the pool.
    """
    device = world.device
    torch.manual_seed(seed)
    autoencoder = load_autoencoder(out, device)
    generator = Generator(preset, tokenizer_folder).to(device)
    ema = Ema(generator, 0.999)
    optimizers = Optimizers(generator)
    budget, log = Budget(steps, minutes, span), Log(out / "generator.jsonl", world)
    before = 0
    if resume and (found := load_checkpoint(out / "generator")):
        before = _restore(*found, generator, ema, optimizers)
    own_seed = (seed + before) * 1009 + world.rank
    torch.manual_seed(own_seed)
    if compiled:
        compile_blocks()
    maker = SequenceMaker(
        autoencoder,
        generator.text_encoder.tokenizer,
        text_len=preset.transformer.text_len,
        height=preset.height,
        width=preset.width,
        seed=own_seed,
    )
    stock = Stock(maker, pool, scenes, paints, random.Random(own_seed))
    lessons = Lessons(generator, device)
    gradients = Gradients([p for p in generator.parameters() if p.requires_grad])
    drawn = stock.draw(batch, PLAIN)

    def learn(references: int) -> tuple[Tensor, ...]:
        gradients.flat.zero_()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
            lesson, wanted, sigma = lessons.lesson(drawn, references)
            flow = predict_flow(generator.transformer, lesson, preset.window)
        error = (flow.float() - wanted).square().mean((2, 3, 4, 5))
        error.mean().backward()
        from_noise = ((sigma > 0.99) & (lesson.scale == 1)[:, None]).float()
        return error.detach().mean(), (error.detach() * from_noise).sum() / from_noise.sum().clamp(min=1)

    learning = [Graphed(partial(learn, count), device) for count in range(3)]
    sums: list[list[Tensor]] = [[], []]
    owed = 0.0
    while budget.goes_on(world):
        # Early on the pool grows as fast as it can be made; later it is renewed.
        owed += batch / (draws if stock.is_full else min(draws, 2.0))
        while owed >= scenes * paints:
            stock.renew()
            owed -= scenes * paints
        kind = REFERRED if stock.rng.random() < KIND_SHARES[REFERRED] else PLAIN
        drawn.put(slice(None), stock.draw(batch, kind))
        references = stock.rng.choice((1, 1, 1, 2)) if kind == REFERRED else 0
        figures = learning[references]()
        gradients.finish(world)
        optimizers.step(budget.rate(decay_from=0.4))
        ema.update(generator, before + budget.step)
        budget.step += 1
        for values, figure in zip(sums, figures, strict=True):
            values.append(figure.clone())
        if budget.step % 200 == 0:
            loss, from_noise = (torch.stack(values).mean().item() for values in sums)
            clips = stock.made * world.size
            log(step=before + budget.step, share=budget.share, clips=clips, loss=loss, from_noise=from_noise)
            sums = [[], []]
        if budget.step % 5000 == 0 and world.rank == 0:
            _save(out, generator, ema, optimizers, before + budget.step)
    if world.rank == 0:
        _save(out, generator, ema, optimizers, before + budget.step)
    ema.copy_to(generator)
    return generator.eval()


def load_generator(out: Path, tokenizer_folder: Path, preset: Preset, device: torch.device) -> Generator:
    """The averaged weights of the last checkpoint below `out`, frozen."""
    found = load_checkpoint(out / "generator")
    if found is None:
        raise FileNotFoundError(f"{out / 'generator'}: no checkpoint; run the generator stage first")
    generator = Generator(preset, tokenizer_folder)
    average = {k[4:]: v.float() for k, v in found[0].items() if k.startswith("ema.")}
    generator.load_state_dict(average, strict=False)
    return generator.to(device).eval().requires_grad_(False)


def trained_models(out: Path, tokenizer_folder: Path, preset: Preset = EMBEDDED) -> Models:
    """The averaged weights of the last checkpoints below `out`, as the engine holds them."""
    cpu = torch.device("cpu")
    generator = load_generator(out, tokenizer_folder, preset, cpu)
    autoencoder = load_autoencoder(out, cpu)
    return Models(
        transformer=generator.transformer,
        autoencoder=autoencoder,
        decoder=autoencoder,
        text_encoder=generator.text_encoder,
        trained=True,
    )


def _save(out: Path, generator: Generator, ema: Ema, optimizers: Optimizers, step: int) -> None:
    tensors = {f"model.{name}": p for name, p in generator.named_parameters()}
    tensors |= {f"ema.{name}": value.half() for name, value in ema.average.items()}
    tensors |= {f"optimizer.{name}": value for name, value in optimizers.state().items()}
    save_checkpoint(out / "generator", tensors, {"step": step})


def _restore(
    tensors: dict[str, Tensor], meta: dict[str, Any], generator: Generator, ema: Ema, optimizers: Optimizers
) -> int:
    """Take a checkpoint up; returns its step."""
    with torch.no_grad():
        for name, p in generator.named_parameters():
            p.copy_(tensors[f"model.{name}"])
            ema.average[name].copy_(tensors[f"ema.{name}"])
    prefix = "optimizer."
    optimizers.load(
        {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    )
    return meta["step"]
