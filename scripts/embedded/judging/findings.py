"""Findings about the built-in model: what is measured of one clip, and what a trial hands back."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.embedded.judging import figures
from scripts.embedded.judging.probes import Probes, has_subject
from scripts.embedded.judging.sheets import Sheet
from scripts.embedded.judging.streams import Scene, chunk_starts, held_out_scene, num_frames, play
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint, paint
from scripts.embedded.words.captions import caption
from streaming.engine import StreamEngine
from streaming.pipeline import LongLivePipeline

# Looks that are to show a face, by relief, ink, glow and tone.
FACE_LOOKS = (
    *("gold", "silver", "clay", "jade", "chocolate", "ice"),
    *("comic", "sketch", "engraving", "blueprint", "paper"),
    *("hologram", "neon", "xray"),
    *("lego", "pixel", "mosaic", "wool", "thermal"),
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything. A chunk takes half a second or more on a CPU."""

    looks: tuple[str, ...] = LOOKS  # of the main figures
    scenes: int = 3
    chunks: int = 2  # of a clip that is judged against the truth
    clips_per_look: int = 1  # the first is of the plain look, others have colours and backgrounds
    other_columns_every: int = 3  # which clips are judged with other steps and with the net's depth as well
    phrasings_every: int = 3
    still_clips: int = 4
    long_chunks: int = 27  # 20 s
    long_looks: tuple[str, ...] = ("lego",)  # one with fine lines: a flat picture has no sharpness to lose
    switches: range = range(6)  # which of those that are drawn
    guided_clips: int = 5
    referred_clips: int = 6
    masked_clips: int = 6
    depth_scenes: int = 24
    bare_scenes: int = 24  # of the depth net's scenes that may show one bare surface; 0: none are judged
    real_looks: int = 12
    face_looks: tuple[str, ...] = FACE_LOOKS[::3]
    speed_chunks: int = 20


NO_JUDGES = "not run: no judges; train them with `python -m scripts.train_embedded probes`"
QUICK = Effort()
FULL = Effort(
    scenes=8,
    chunks=3,
    clips_per_look=3,
    other_columns_every=2,
    phrasings_every=1,
    still_clips=12,
    long_chunks=400,  # 5 minutes at 16 frames a second
    long_looks=("sketch", "gold", "lego"),
    switches=range(40),
    guided_clips=16,
    referred_clips=24,
    masked_clips=24,
    depth_scenes=96,
    bare_scenes=96,
    real_looks=30,
    face_looks=FACE_LOOKS,
    speed_chunks=100,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the table."""

    name: str
    value: float | None  # None: could not be measured; `note` says why
    goal: float | None = None  # None: for information
    at_most: bool = False  # the goal is an upper bound
    unit: str = ""
    note: str = ""

    @property
    def passed(self) -> bool | None:
        if self.value is None or self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def judged(
    name: str,
    value: float | None,
    goal: float | None = None,
    at_most: bool = False,
    unit: str = "",
    note: str = "",
) -> Row:
    """Row of a figure that the judges read: without them there is no value, and the row says so."""
    return Row(name, value, goal, at_most, unit, NO_JUDGES if value is None else note)


@dataclass(slots=True)
class Finding:
    rows: list[Row]
    details: Any = None  # for JSON
    sheets: dict[str, Sheet] = field(default_factory=dict)


@dataclass
class Subject:
    """The model under trial, and what judges it."""

    engine: StreamEngine
    probes: Probes | None  # None: what they read, accuracy and depth, is not known
    folder: Path  # its weights
    photos: Path | None = None  # where marked pictures lie that are not installed
    steps: tuple[int, ...] | None = None  # nominal denoising steps; None: as served

    @property
    def pipeline(self) -> LongLivePipeline:
        return self.engine.pipeline

    @property
    def device(self) -> torch.device:
        return self.pipeline.device

    @property
    def size(self) -> tuple[int, int]:
        return self.pipeline.preset.height, self.pipeline.preset.width

    @property
    def has_depth_net(self) -> bool:
        return self.engine.info.depth != "edges"

    @cached_property
    def _scenes(self) -> dict[tuple[int, int, bool], Scene]:
        return {}

    def scene(self, number: int, chunks: int, *, is_still: bool = False) -> Scene:
        """Held-out scene, rendered once: it takes longer than a chunk on a CPU."""
        key = (number, chunks, is_still)
        if key not in self._scenes:
            self._scenes[key] = held_out_scene(
                number,
                num_frames(chunks),
                size=self.size,
                device=self.device,
                still=float(is_still),
                with_camera=not is_still,
            )
        return self._scenes[key]

    def play(self, prompts: Sequence[str], depth: Tensor, **options: Any) -> Tensor:
        """All frames of a stream, see `streams.play`."""
        options.setdefault("steps", self.steps)
        return torch.cat(list(play(self.pipeline, prompts, depth, **options)))

    def accuracy(self, frames: Tensor, look: str) -> float | None:
        """Share of frames (T, 3, H, W) in [0, 1] that show `look`; None without judges."""
        return share(self.probes.looks(frames * 2 - 1), look) if self.probes else None

    def read_depth(self, frames: Tensor) -> Tensor | None:
        """(T, H, W) as the judge reads it off frames (T, 3, H, W) in [0, 1]; None without judges."""
        return self.probes.depth(frames * 2 - 1) if self.probes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One generated clip against the truth."""

    prompt: str
    look: str
    colour: str | None
    background: str | None
    scene: int
    accuracy: float | None  # share of frames; None, here and below: no judges, or the prompt names none
    accuracy_by_chunk: list[float | None]
    colour_accuracy: float | None
    background_accuracy: float | None
    depth: float | None  # correlation of the depth read off with the true one
    depth_of_truth: float | None  # the same, read off the true picture
    sharpness: float
    detail: float
    psnr: float


@dataclass(frozen=True, slots=True)
class Case:
    prompt: str
    paint: Paint
    scene: int


def painted(depth: Tensor, kind: Paint, gray: Tensor | None = None) -> Tensor:
    """True picture: depth and gray (T, H, W) in [0, 1] -> (T, 3, H, W) in [0, 1]."""
    return paint(depth[None], [kind], None if gray is None else gray[None])[0] * 0.5 + 0.5


def judge(
    subject: Subject,
    case: Case,
    frames: Tensor,
    truth: Tensor,
    depth: Tensor,
    depth_of_truth: float | None,
) -> Judged:
    """Frames and truth (T, 3, H, W) in [0, 1]; `depth` (T, H, W) is the true one, whatever was given."""
    kind = case.paint
    # Where nothing stands before a background of another kind, nobody could tell the look.
    is_telling = kind.background is None or bool(has_subject(depth).float().mean() > 0.5)
    probes, seen = subject.probes if is_telling else None, frames * 2 - 1
    looks = probes.looks(seen) if probes else []
    starts = [start for start in chunk_starts(99) if start < len(frames)] + [len(frames)]
    of_colour = of_background = None
    if probes and kind.colour is not None:
        of_colour = share(probes.colours(seen), kind.colour)
    if probes and kind.background is not None:
        of_background = share(probes.backgrounds(seen), kind.background)
    return Judged(
        prompt=case.prompt,
        look=kind.look,
        colour=kind.colour,
        background=kind.background,
        scene=case.scene,
        accuracy=share(looks, kind.look),
        accuracy_by_chunk=[share(looks[a:b], kind.look) for a, b in zip(starts, starts[1:], strict=False)],
        colour_accuracy=of_colour,
        background_accuracy=of_background,
        depth=read_depth(subject, frames, depth),
        depth_of_truth=depth_of_truth,
        sharpness=figures.sharpness(frames, truth),
        detail=figures.detail(frames, truth),
        psnr=figures.psnr(frames, truth),
    )


def read_depth(subject: Subject, frames: Tensor, depth: Tensor) -> float | None:
    """Mean correlation of what the judge reads off frames (T, 3, H, W) in [0, 1] with depth (T, H, W)."""
    read = subject.read_depth(frames)
    return None if read is None else figures.pearson(read, depth).mean().item()


def share(names: Sequence[str | None], wanted: str) -> float | None:
    """How many of `names` are the wanted one, 1 all; None of none."""
    return mean([float(name == wanted) for name in names])


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def summary(clips: Sequence[Judged]) -> dict[str, float | None]:
    """Means over clips. No clip counts as sharper than the truth, or a noisy one would make up for a blurred
    one."""
    depth, of_truth = mean([clip.depth for clip in clips]), mean([clip.depth_of_truth for clip in clips])
    return {
        "clips": len(clips),
        "look accuracy": mean([clip.accuracy for clip in clips]),
        "colour accuracy": mean([clip.colour_accuracy for clip in clips]),
        "background accuracy": mean([clip.background_accuracy for clip in clips]),
        "depth fraction": None if depth is None or of_truth is None else depth / max(of_truth, 1e-9),
        "sharpness": mean([min(1.0, clip.sharpness) for clip in clips]),
        "detail": mean([clip.detail for clip in clips]),
        "psnr": mean([clip.psnr for clip in clips]),
    }


def draw_cases(effort: Effort) -> list[Case]:
    """Prompts in the words of training, drawn anew: every look plain, then with colours and backgrounds."""
    rng = random.Random(HELD_OUT_SEED)
    cases = []
    for turn in range(effort.clips_per_look):
        for index, look in enumerate(effort.looks):
            kind = Paint(look)
            if turn:
                colour = rng.choice(list(COLOURS)) if look in COLOURED else None
                kind = Paint(look, colour, rng.choice((None, *BACKGROUNDS)))
            cases.append(Case(caption(kind, rng), kind, (index + turn) % effort.scenes))
    return cases
