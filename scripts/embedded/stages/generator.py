"""The generator with its VACE branch and its text encoder: flow matching with teacher forcing."""

import random
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.embedded.checkpoints import load_checkpoint, save_checkpoint
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.data.sequences import KIND_SHARES, PLAIN, REFERRED, Pool, Renewal, SequenceMaker, Stock
from scripts.embedded.graphed import Graphed
from scripts.embedded.optimizers import Optimizers
from scripts.embedded.stages.autoencoder import load_autoencoder
from scripts.embedded.stages.lessons import Generator, Lessons
from scripts.embedded.stages.teacher import compile_blocks, predict_flow
from scripts.embedded.training import Ema, Run, Stage, train
from streaming.checkpoints.models import Models
from streaming.checkpoints.presets import EMBEDDED, Preset

MUON_RATE, ADAM_RATE = 1.5e-3, 1.5e-3
MOMENTS = "optimizer."  # how their names begin in a checkpoint


def train_generator(
    run: Run,
    pool: Pool,
    tokenizer_folder: Path,
    *,
    photographs: Photographs,
    preset: Preset = EMBEDDED,
    compiled: bool = False,
) -> Generator:
    """Train on the autoencoder below `run.out`; save checkpoints there and return the averaged weights."""
    device = run.world.device
    torch.manual_seed(run.seed)
    autoencoder = load_autoencoder(run.out, device)
    generator = Generator(preset, tokenizer_folder).to(device)
    ema = Ema(generator, 0.999)
    optimizers = Optimizers(
        generator.parameters(),
        [p for name, p in generator.named_parameters() if _is_inner(name, p)],
        muon_rate=MUON_RATE,
        muon_decay=0.01,
        adam_rate=ADAM_RATE,
        adam_decay=0.01,
    )
    before = 0
    if run.resume and (found := load_checkpoint(run.out / "generator")):
        before = _restore(*found, generator, ema, optimizers)
    own_seed = (run.seed + before) * 1009 + run.world.rank
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
        photographs=photographs,
    )
    stock = Stock(maker, pool, random.Random(own_seed))
    lessons, renewal = Lessons(generator, device), Renewal(pool)
    drawn = stock.draw(pool.batch, PLAIN)

    def learn(references: int) -> tuple[Tensor, ...]:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
            lesson, wanted, sigma = lessons.lesson(drawn, references)
            flow = predict_flow(generator.transformer, lesson, preset.window)
        error = (flow.float() - wanted).square().mean((2, 3, 4, 5))
        error.mean().backward()
        from_noise = ((sigma > 0.99) & (lesson.scale == 1)[:, None]).float()
        return error.detach().mean(), (error.detach() * from_noise).sum() / from_noise.sum().clamp(min=1)

    graphed = [Graphed(partial(learn, count), device) for count in range(3)]

    def step(_: int) -> tuple[Tensor, ...]:
        # Early on the pool grows as fast as it can be made; later it is renewed.
        for _ in range(renewal.due(pool.draws if stock.is_full else min(pool.draws, 2.0))):
            stock.renew()
        kind = REFERRED if stock.rng.random() < KIND_SHARES[REFERRED] else PLAIN
        drawn.put(slice(None), stock.draw(pool.batch, kind))
        return graphed[stock.rng.choice((1, 1, 1, 2)) if kind == REFERRED else 0]()

    stage = Stage(
        name="generator",
        model=generator,
        ema=ema,
        before=before,
        optimizers=optimizers,
        step=step,
        figures=("loss", "from_noise"),
        rate=lambda budget: budget.rate(decay_from=0.4),
        save=lambda at: _save(run.out, generator, ema, optimizers, at),
        report_every=200,
        save_every=5000,
        more=lambda: {"clips": stock.made * run.world.size},
    )
    train(stage, run)
    ema.copy_to(generator)
    return generator.eval()


def _is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a matrix inside a block."""
    return parameter.ndim == 2 and "block" in name and not re.search("shared|bias|modulation", name)


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
    """The average and the moments in half the bits."""
    tensors = {f"model.{name}": p for name, p in generator.named_parameters()}
    tensors |= {f"ema.{name}": value.half() for name, value in ema.average.items()}
    moments = optimizers.state().items()
    tensors |= {f"{MOMENTS}{name}": value.bfloat16() if value.ndim else value for name, value in moments}
    save_checkpoint(out / "generator", tensors, {"step": step})


def _restore(
    tensors: dict[str, Tensor], meta: dict[str, Any], generator: Generator, ema: Ema, optimizers: Optimizers
) -> int:
    """Take a checkpoint up; returns its step."""
    ema.restore(generator, tensors)
    optimizers.load({name.removeprefix(MOMENTS): value for name, value in tensors.items()})
    return meta["step"]
