"""Training of the built-in model, one command a stage. Everything it learns from is rendered while it learns.

python -m scripts.train_embedded tokenizer
python -m scripts.train_embedded autoencoder --out out/train --minutes 5
python -m scripts.train_embedded depth --out out/train --minutes 5
python -m scripts.train_embedded probes --minutes 1
torchrun --nproc-per-node 2 -m scripts.train_embedded generator --out out/train --minutes 10
python -m scripts.train_embedded decoder --out out/train --minutes 5
python -m scripts.train_embedded text --out out/train --minutes 1.5
python -m scripts.train_embedded export --out out/train
python -m scripts.train_embedded showcase

To go on from what is shipped, in about twenty minutes of one H100:

python -m scripts.train_embedded unpack --out out/train
python -m scripts.train_embedded generator --out out/train --resume --minutes 7.5 --span 0.65 1 --batch 24 \\
    --pool 1800 --draws 20 --compiled
python -m scripts.train_embedded text --out out/train --minutes 2
python -m scripts.train_embedded decoder --out out/train --minutes 4 --pool 720
python -m scripts.train_embedded depth --out out/train --resume --minutes 6.5 --span 0.5 1

Stages save checkpoints below --out (files under 16 MiB); --resume goes on from there. The decoder stage
teaches the autoencoder to draw what the generator makes, and always goes on. These three run on any number
of GPUs under torchrun; a run of the same length and seed on as many devices sees the same clips.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from scripts.embedded.training import Run
from scripts.embedded.world import World
from streaming.checkpoints.presets import UNTRAINED, Preset, packaged

PACKAGED = Path(__file__).resolve().parents[1] / "streaming" / "embedded"
TOKENIZER = PACKAGED / "tokenizer"
PROBES = Path(__file__).resolve().parents[1] / "tests" / "data" / "probes.safetensors"

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Out = Annotated[Path, typer.Option(help="Folder of the checkpoints and logs.")]
Minutes = Annotated[float | None, typer.Option(help="Train for so long ...")]
Steps = Annotated[int | None, typer.Option(help="... or for so many steps.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights, scenes and noise.")]
Resume = Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")]
Span = Annotated[
    tuple[float, float],
    typer.Option(help="Which part of the whole training this run is: learning rates follow the whole."),
]
Device = Annotated[str, typer.Option(help="cuda or cpu; torchrun chooses by itself.")]
Small = Annotated[bool, typer.Option(help="64x48 pixels: to see on a CPU that a stage runs.")]
Photos = Annotated[
    Path, typer.Option("--photographs", help="What `photographs` wrote; without it, rendered scenes alone.")
]
DEFAULT_OUT = Path("out/train")
PHOTOGRAPHS = Path("out/photographs.npz")  # outside version control
AUTO = "cuda" if torch.cuda.is_available() else "cpu"


@app.command()
def photographs(
    file: Path = PHOTOGRAPHS,
    folder: Annotated[
        Path | None, typer.Option(help="Where wheels were unzipped, of packages that are not installed.")
    ] = None,
) -> None:
    """Collect the free photographs of installed packages (scikit-image, scikit-learn) into one file."""
    from scripts.embedded.data.photographs import collect, save

    typer.echo(f"{save(collect(folder), file)} squares of photographs in {file}")


@app.command()
def tokenizer(folder: Path = TOKENIZER, seed: Seed = 0) -> None:
    """Learn the word pieces from captions (CPU, seconds)."""
    from scripts.embedded.words.tokenizer import train_tokenizer

    train_tokenizer(folder, seed)


@app.command()
def autoencoder(
    out: Out = DEFAULT_OUT,
    minutes: Minutes = None,
    steps: Steps = None,
    span: Span = (0.0, 1.0),
    batch: int = 24,
    pool: int = 1200,
    seed: Seed = 0,
    resume: Resume = False,
    muon: bool = True,
    device: Device = AUTO,
    photos: Photos = PHOTOGRAPHS,
    small: Small = False,
) -> None:
    """Train the autoencoder on looks, controls and camera pictures."""
    from scripts.embedded.data.photographs import Photographs
    from scripts.embedded.stages.autoencoder import train_autoencoder

    preset = _preset(small)
    with _run(out, device, minutes, steps, span, seed, resume) as run:
        train_autoencoder(
            run,
            batch=batch,
            pool_size=pool,
            photographs=Photographs.load(photos, run.world.device),
            with_muon=muon,
            height=preset.height,
            width=preset.width,
        )


@app.command()
def depth(
    out: Out = DEFAULT_OUT,
    minutes: Minutes = None,
    steps: Steps = None,
    span: Span = (0.0, 1.0),
    batch: int = 192,
    pool: int = 24_000,
    seed: Seed = 0,
    resume: Resume = False,
    device: Device = AUTO,
) -> None:
    """Train the depth net on camera-like pictures; writes its folder below --out."""
    from scripts.embedded.stages.depth import train_depth

    with _run(out, device, minutes, steps, span, seed, resume) as run:
        train_depth(run, batch=batch, pool=pool)


@app.command()
def probes(
    out: Path = PROBES, minutes: float = 1.25, steps: Steps = None, seed: Seed = 77, device: Device = AUTO
) -> None:
    """Train the judges of the evaluation: one names looks, one reads depth off a picture."""
    from scripts.embedded.judging.probes import train_probes

    typer.echo(train_probes(out, device=torch.device(device), minutes=minutes, steps=steps, seed=seed))


@app.command()
def generator(
    out: Out = DEFAULT_OUT,
    minutes: Minutes = None,
    steps: Steps = None,
    span: Span = (0.0, 1.0),
    batch: int = 32,
    pool: int = 4096,
    draws: float = 5.0,
    scenes: int = 4,
    paints: int = 6,
    seed: Seed = 0,
    resume: Resume = False,
    device: Device = AUTO,
    compiled: bool = False,
    photos: Photos = PHOTOGRAPHS,
    small: Small = False,
) -> None:
    """Train transformer, VACE branch and text encoder; needs the autoencoder's checkpoint."""
    from scripts.embedded.data.photographs import Photographs
    from scripts.embedded.data.sequences import Pool
    from scripts.embedded.stages.generator import train_generator

    kept = Pool(batch=batch, size=pool, draws=draws, scenes=scenes, paints=paints)
    with _run(out, device, minutes, steps, span, seed, resume) as run:
        seen = Photographs.load(photos, run.world.device)
        train_generator(run, kept, TOKENIZER, photographs=seen, preset=_preset(small), compiled=compiled)


@app.command()
def decoder(
    out: Out = DEFAULT_OUT,
    minutes: Minutes = None,
    steps: Steps = None,
    span: Span = (0.0, 1.0),
    batch: int = 12,
    pool: int = 960,
    draws: float = 12.0,
    scenes: int = 4,
    paints: int = 6,
    seed: Seed = 0,
    device: Device = AUTO,
    photos: Photos = PHOTOGRAPHS,
    small: Small = False,
) -> None:
    """Teach the autoencoder's decoder what the generator makes; goes on from both checkpoints."""
    from scripts.embedded.data.photographs import Photographs
    from scripts.embedded.data.sequences import Pool
    from scripts.embedded.stages.decoder import train_decoder

    kept = Pool(batch=batch, size=pool, draws=draws, scenes=scenes, paints=paints)
    with _run(out, device, minutes, steps, span, seed) as run:
        seen = Photographs.load(photos, run.world.device)
        train_decoder(run, kept, TOKENIZER, photographs=seen, preset=_preset(small))


@app.command()
def text(
    out: Out = DEFAULT_OUT,
    minutes: Minutes = None,
    steps: Steps = None,
    batch: int = 256,
    seed: Seed = 0,
    device: Device = AUTO,
    small: Small = False,
) -> None:
    """Teach the text encoder alone to read slips and rare words; changes the generator's checkpoint."""
    from scripts.embedded.stages.text import train_text

    with _run(out, device, minutes, steps, seed=seed) as run:
        train_text(run, TOKENIZER, batch=batch, preset=_preset(small))


@app.command()
def export(out: Out = DEFAULT_OUT, folder: Path = PACKAGED) -> None:
    """Write the averaged weights as the package ships them."""
    from scripts.embedded.export import export as write
    from scripts.embedded.stages.generator import trained_models

    write(trained_models(out, TOKENIZER), folder)


@app.command()
def unpack(out: Out = DEFAULT_OUT, folder: Path = PACKAGED) -> None:
    """Write checkpoints of the shipped weights, for stages to go on from with --resume."""
    from scripts.embedded.export import unpack as write

    write(packaged(UNTRAINED, folder), out)


@app.command()
def samples(
    file: Annotated[Path, typer.Argument(help="The picture to write (PNG).")],
    out: Out = DEFAULT_OUT,
    device: Device = AUTO,
    photos: Photos = PHOTOGRAPHS,
    small: Small = False,
) -> None:
    """Paint clips with the last checkpoints, beside what they should be: to be looked at between stages."""
    from scripts.embedded.data.photographs import Photographs
    from scripts.embedded.samples import write_samples

    where = torch.device(device)
    seen = Photographs.load(photos, where)
    preset = _preset(small)
    write_samples(out, TOKENIZER, preset=preset, photographs=seen, device=where, file=file)


@app.command()
def showcase(folder: Path = PACKAGED) -> None:
    """Let the exported model paint the pictures of the looks that the page offers."""
    from scripts.embedded.showcase import write_showcase
    from streaming.config import PipelineConfig
    from streaming.pipeline import LongLivePipeline

    config = PipelineConfig.from_mapping(packaged(UNTRAINED, folder).files)
    pipeline = LongLivePipeline(config, torch.device("cpu"), torch.float32)
    write_showcase(pipeline, folder)


def _preset(small: bool) -> Preset:
    return replace(UNTRAINED, height=48, width=64) if small else UNTRAINED


@contextlib.contextmanager
def _run(
    out: Path,
    device: str,
    minutes: float | None,
    steps: int | None,
    span: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    resume: bool = False,
) -> Iterator[Run]:
    """Joins the processes and leaves them again; refuses a training without an end."""
    if minutes is None and steps is None:
        raise typer.BadParameter("give --minutes or --steps")
    world = World.join(device)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    try:
        yield Run(out=out, world=world, minutes=minutes, steps=steps, span=span, seed=seed, resume=resume)
    finally:
        world.leave()


if __name__ == "__main__":
    app()
