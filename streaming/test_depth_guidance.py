"""A check that depth guidance works here: synthetic depth in; the video, the depth and a verdict out.

python -m streaming.test_depth_guidance --output-dir out --chunks 4

The name is the feature document's; it is a command, with nothing in it for pytest. Exit status: 0 all checks
hold, 1 one does not, 2 it could not start.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from streaming.blocks.text_conditioning import parse_prompts
from streaming.engine import StreamEngine
from streaming.gpu.stage_clock import StageClock
from streaming.pipeline import GenerationFailed, LongLivePipeline
from streaming.vace_utils import extract_depth_chunk, preprocess_depth_frames

FPS = 16  # what Wan 2.1 was trained at
LEAST_VISIBLE = 1 / 255
SHEET_PICTURES = 16


@dataclass(frozen=True, slots=True)
class GuidedChunk:
    """One chunk and what the same seed and prompt give without depth; both (T, H, W, 3) in [0, 1], on the
    host."""

    depth_shape: tuple[int, ...]
    guided: Tensor
    unguided: Tensor
    timings_ms: dict[str, float]  # of the guided one


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    holds: bool
    found: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        engine = StreamEngine.load(
            model=options.model,
            depth="edges",  # of no use here: depth is synthetic
            device=options.device,
            seed=options.seed,
            on_progress=lambda progress: print(progress.describe(), file=sys.stderr),  # noqa: T201 -- as in say
        )
    except (ValueError, OSError) as error:
        say(f"error: {error}")
        return 2
    return check_guidance(engine, options.output_dir, options.chunks, options.prompt, options.seed)


def check_guidance(engine: StreamEngine, output_dir: Path, chunks: int, prompt: str, seed: int) -> int:
    """Generate, write the videos, judge; says what it does. Returns the exit status."""
    info, pipeline, block = engine.info, engine.pipeline, engine.pipeline.control
    trained = "" if info.trained else " (untrained)"
    say(f"model   {info.model}{trained}, {info.width}x{info.height}, {info.device} {info.dtype}")
    maps = synthetic_depth(chunks * block.frames_per_chunk, info.height, info.width)
    depth = preprocess_depth_frames(maps, info.height, info.width, info.device, value_range=(0.0, 1.0))
    say(f"depth   {maps.shape} -> {tuple(depth.shape)} within [{depth.min():.2f}, {depth.max():.2f}]")
    done: list[GuidedChunk] = []
    try:
        for chunk in generate(pipeline, depth, prompt, seed):
            done.append(chunk)
            stages = ", ".join(f"{name} {ms:.0f}" for name, ms in chunk.timings_ms.items())
            say(f"chunk {len(done) - 1} {chunk.depth_shape} -> {tuple(chunk.guided.shape)}, ms: {stages}")
    except GenerationFailed as error:
        say(f"FAIL    finite: {error}")
        return 1
    guided, unguided = (torch.cat([getattr(c, name) for c in done]) for name in ("guided", "unguided"))
    # What a first chunk leaves out of its 12 depth frames is left out here too: frame k belongs to frame k.
    shown = ((depth[0, 0, -len(guided) :, :, :, None] + 1) / 2).expand(-1, -1, -1, 3)
    for name, video in (("output", guided), ("depth", shown)):
        paths = write_video(output_dir / f"{name}.mp4", to_pictures(video))
        say(f"written {', '.join(map(str, paths))}")
    expected = block.frames_of_first_chunk + (chunks - 1) * block.frames_per_chunk
    checks = verdict(guided, unguided, expected)
    for check in checks:
        say(f"{'pass' if check.holds else 'FAIL'}    {check.name}: {check.found}")
    return 0 if all(check.holds for check in checks) else 1


def synthetic_depth(num_frames: int, height: int, width: int) -> np.ndarray:
    """A ball that crosses before a floor rising into the distance: (F, H, W) float32, 0 far ... 1 near."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    floor = 0.1 + 0.4 * y
    maps = np.empty((num_frames, height, width), np.float32)
    for frame in range(num_frames):
        phase = 2 * np.pi * frame / (4 * FPS)  # there and back in four seconds
        centre_x = width / height * (0.5 - 0.3 * np.cos(phase))
        centre_y = 0.5 + 0.1 * np.sin(2 * phase)
        bulge = np.clip(1 - ((x - centre_x) ** 2 + (y - centre_y) ** 2) / 0.25**2, 0, None)
        maps[frame] = np.where(bulge > 0, 0.7 + 0.3 * np.sqrt(bulge), floor)
    return maps


def generate(
    pipeline: LongLivePipeline, depth_video: Tensor, prompt: str, seed: int
) -> Iterator[GuidedChunk]:
    """Every whole chunk of a depth video (1, 1, F, H, W), guided in one stream and unguided in another."""
    guided, unguided = (pipeline.open_session(seed=seed) for _ in range(2))
    prompts, size = parse_prompts(prompt), pipeline.control.frames_per_chunk
    for index in range(depth_video.shape[2] // size):
        depth = extract_depth_chunk(depth_video, index, size)
        clock = StageClock(pipeline.device)
        with clock.stage("total"):
            video = pipeline.generate(
                guided, prompts, guidance_mode="depth", vace_input=depth, vace_context_scale=1.0, clock=clock
            ).cpu()
        plain = pipeline.generate(unguided, prompts).cpu()
        yield GuidedChunk(tuple(depth.shape), video.float(), plain.float(), clock.timings_ms())


def verdict(guided: Tensor, unguided: Tensor, expected_frames: int) -> list[Check]:
    """What must hold for guided video and unguided twin, (T, H, W, 3) in [0, 1]."""
    bad = int((~guided.isfinite()).sum())
    contrast = guided.flatten(1).std(1).min().item()
    difference = (guided - unguided).abs().mean().item() if guided.shape == unguided.shape else float("nan")
    return [
        Check("finite", bad == 0, f"{bad} of {guided.numel()} values are not"),
        Check("frame count", len(guided) == expected_frames, f"{len(guided)}, expected {expected_frames}"),
        Check(
            "not constant",
            contrast > LEAST_VISIBLE,
            f"flattest picture has standard deviation {contrast:.4f}",
        ),
        Check(
            "depth has an effect",
            difference > LEAST_VISIBLE,
            f"mean difference {difference:.4f} from the unguided twin",
        ),
    ]


def to_pictures(video: Tensor) -> np.ndarray:
    """(T, H, W, 3) in [0, 1] -> the same in uint8."""
    return (video.nan_to_num() * 255).round().to(torch.uint8).cpu().numpy()


def write_video(path: Path, pictures: np.ndarray) -> list[Path]:
    """(T, H, W, 3) uint8 -> an mp4, or without PyAV a sheet of pictures and the array; returns the files."""
    try:
        import av  # of the server's packages; a machine that only generates may be without it
    except ImportError:
        say(f"no {path.name}: PyAV is not installed (pip install av); pictures and the array instead")
        sheet, array = path.with_suffix(".png"), path.with_suffix(".npy")
        Image.fromarray(contact_sheet(pictures)).save(sheet)
        np.save(array, pictures)
        return [sheet, array]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=FPS, options={"crf": "18"})
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return [path]


def contact_sheet(pictures: np.ndarray) -> np.ndarray:
    """Up to 16 pictures of the video, evenly chosen, row by row."""
    count = min(len(pictures), SHEET_PICTURES)
    columns = ceil(sqrt(count))
    chosen = pictures[np.linspace(0, len(pictures) - 1, count).round().astype(int)]
    missing = -count % columns
    cells = np.concatenate([chosen, np.zeros((missing, *pictures.shape[1:]), np.uint8)])
    rows = cells.reshape(-1, columns, *pictures.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command speaks to its user


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streaming.test_depth_guidance",
        description="Check depth guidance with synthetic depth.",
    )
    parser.add_argument("--model", default="embedded", help="preset of the generator (embedded)")
    parser.add_argument("--output-dir", type=Path, default=Path("out"), help="where videos go (out)")
    parser.add_argument("--chunks", type=_at_least_one, default=4, help="9 frames, then 12 each (4)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    parser.add_argument("--seed", type=int, default=0, help="of noise and of random weights (0)")
    parser.add_argument("--prompt", default="a statue of molten gold", help="what to paint")
    return parser


def _at_least_one(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
