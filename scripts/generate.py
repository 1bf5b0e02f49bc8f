"""Video file through depth and generator, into another video file of the same length, times and sound.

python -m scripts.generate --input clip.mp4 --prompt "a statue of molten gold" --output out.mp4
python -m scripts.generate -i clip.mp4 -p "a winter forest" --transition "4.5:a summer meadow" -o out.mp4
"""

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import typer

# OpenMP reads it when torch is loaded. Threads that spin while they wait starve the video coder beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from scripts.video_file import Picture, VideoFileError, VideoReader, VideoWriter
from streaming.api import ChunkParameters, ChunkResult, Decoder, GenerationFailed
from streaming.blocks.text_conditioning import parse_prompts
from streaming.config import parse_size
from streaming.engine import StreamEngine
from streaming.hub.pull import Progress


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of prompt, by recomputing the window under the new one: no cut."""

    seconds: float  # of the clip; the first chunk that begins then or later is the first to show it
    prompt: str


class Stream(Protocol):
    """What `repaint` needs of a `LiveStream`."""

    @property
    def frames_wanted(self) -> int: ...
    def step(self, frames: Sequence[np.ndarray], asked: ChunkParameters) -> ChunkResult: ...


def main(
    source: Annotated[Path, typer.Option("--input", "-i", help="Video file of any kind.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to paint.")],
    target: Annotated[
        Path, typer.Option("--output", "-o", help="Video file to write: .mp4, .mov, .mkv, .webm.")
    ],
    transition: Annotated[
        list[str] | None,
        typer.Option(metavar="SECONDS:PROMPT", help="Change the prompt there; repeat for several."),
    ] = None,
    guidance_scale: Annotated[float, typer.Option(min=0, max=2, help="Strength of depth.")] = 1.0,
    model: Annotated[str, typer.Option(help="Preset of the generator.")] = "embedded",
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own by default.")
    ] = None,
    depth: Annotated[
        str,
        typer.Option(help="Depth: edges, a model id or folder for transformers, or auto, the model's own."),
    ] = "auto",
    decoder: Annotated[Decoder, typer.Option(help="The exact autoencoder, or the tiny, quick one.")] = "vae",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
) -> None:
    """Repaint a video file under a prompt, guided by its depth."""
    changes = [parse_transition(text) for text in transition or ()]
    try:
        with VideoReader(source) as clip, VideoWriter(target, like=clip) as out:
            if out.lost_audio:
                typer.echo(f"without sound: {out.lost_audio}", err=True)
            engine = StreamEngine.load(
                model=model,
                size=parse_size(size) if size else None,
                depth=depth,
                decoder=decoder,
                device=device,
                seed=seed,
                on_progress=show_download,
            )
            typer.echo(describe(engine))
            stream = engine.open(prompt=prompt, seed=seed)
            began, count = time.monotonic(), 0
            painted = repaint(stream, clip.pictures(), changes, guidance_scale)
            with typer.progressbar(painted, length=clip.num_frames or None, label=target.name) as bar:
                for picture in bar:
                    out.write(picture)
                    count += 1
            told = out.lost_audio
            if clip.damage:
                typer.echo(f"{source} is damaged, what can be read of it is painted: {clip.damage}", err=True)
        if out.lost_audio != told:
            typer.echo(f"without sound: {out.lost_audio}", err=True)
    except (VideoFileError, GenerationFailed, ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    took = time.monotonic() - began
    typer.echo(f"{target}: {count} frames in {took:.1f} s ({count / took:.1f} a second)")


def repaint(
    stream: Stream, pictures: Iterable[Picture], changes: Iterable[Transition] = (), scale: float = 1.0
) -> Iterator[Picture]:
    """As many pictures as came, in their order and at their times.

    The last chunk is filled up by repeating the last picture, and what that gives is dropped.
    """
    pictures = iter(pictures)
    pending = deque(sorted(changes, key=lambda change: change.seconds))
    while chunk := list(islice(pictures, stream.frames_wanted)):
        prompts = None
        while pending and pending[0].seconds <= chunk[0].seconds:
            prompts = parse_prompts(pending.popleft().prompt)
        frames = [picture.pixels for picture in chunk]
        frames += frames[-1:] * (stream.frames_wanted - len(frames))
        result = stream.step(frames, ChunkParameters(prompts=prompts, guidance_scale=scale))
        for picture, pixels in zip(chunk, result.frames, strict=False):
            yield replace(picture, pixels=pixels)


def parse_transition(text: str) -> Transition:
    """ "4.5:a summer meadow" -> Transition(4.5, "a summer meadow"). Raises typer.BadParameter."""
    seconds, _, prompt = text.partition(":")
    try:
        at = float(seconds)
    except ValueError:
        at = -1.0
    if not (0 <= at < float("inf") and prompt.strip()):
        raise typer.BadParameter(
            f"{text!r}: expected SECONDS:PROMPT, as in 4.5:a summer meadow", param_hint="--transition"
        )
    return Transition(at, prompt.strip())


def describe(engine: StreamEngine) -> str:
    info = engine.info
    trained = "" if info.trained else " (untrained)"
    return (
        f"{info.model}{trained}, {info.width}x{info.height}, {len(info.steps)} steps, "
        f"depth {info.depth}, on {info.device}"
    )


def show_download(progress: Progress) -> None:
    """One line of the terminal, over and over."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{progress.describe()}", nl=progress.all_done == progress.all_total, err=True)


if __name__ == "__main__":
    typer.run(main)
