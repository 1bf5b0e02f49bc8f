"""Clip of a rendered person who moves: what the page sends of somebody without a camera.

python -m scripts.embedded.sample_clip client_web/sample.webm

VP8, which every browser with WebRTC has to decode (RFC 7742, 5), in WebM. The same machine writes the same
bytes each time. A loop: at its end everything is where it began.
"""

import argparse
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import torch
from torch import Tensor

from scripts.embedded.scenes.faces import Expressions
from scripts.embedded.scenes.photo import photograph
from scripts.embedded.scenes.procedural import Scenes, render, sample_scenes

SCENE_SEED = 1_000_000_005  # never trained on: those seeds lie below a million
WIDTH, HEIGHT = 480, 270
FPS = 24
LOOP_S = 5.0
AT_ONCE = 6  # frames
QUALITY = "12"  # of 4 (best) to 63
MOST_BITRATE = 700_000  # so that a loop stays below 500 kB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", type=int, default=SCENE_SEED)
    arguments = parser.parse_args()
    pictures = rendered(round(LOOP_S * FPS), seed=arguments.seed)
    write_clip(arguments.target, pictures)
    print(f"{arguments.target}: {len(pictures)} frames, {arguments.target.stat().st_size} bytes")


def rendered(frames: int, *, seed: int = SCENE_SEED, width: int = WIDTH, height: int = HEIGHT) -> Tensor:
    """One loop of the scene in so many frames, (T, H, W, 3) uint8; `frames` is a multiple of AT_ONCE."""
    scenes = looping(sample_scenes(1, torch.Generator().manual_seed(seed), webcam=1.0, still=0.0))
    times = torch.arange(frames)[None] * (LOOP_S / frames)
    pictures = torch.empty(frames, height, width, 3, dtype=torch.uint8)
    parts = frames // AT_ONCE
    for part in range(parts):
        # Frames from all over the loop: the camera's exposure, one for each call, is then the same in all.
        at = times[:, part::parts]
        surface = render(scenes, at, height=height, width=width)
        generator = torch.Generator().manual_seed(seed)  # as in the other parts
        camera = photograph(surface, scenes, generator, compress=False, expressions=speaking(at))
        pictures[part::parts] = ((camera[0].movedim(1, -1) + 1) * 127.5).round().to(torch.uint8)
    return pictures


def looping(scenes: Scenes) -> Scenes:
    """The same scenes, in which every motion comes full circle in LOOP_S."""
    turn = 2 * math.pi / LOOP_S  # radians a second of what comes round once

    def fitted(swing: Tensor) -> Tensor:
        """swing (..., 3): amplitude, rate, phase."""
        out = swing.clone()
        out[..., 1] = (swing[..., 1] / turn).round().clamp(min=1) * turn
        return out

    return replace(scenes, swing=fitted(scenes.swing), sway=fitted(scenes.sway), pan=fitted(scenes.pan))


def speaking(times: Tensor) -> Expressions:
    """A face that speaks and blinks, at `times` (B, T) in seconds; it loops as the scene does."""
    turn = 2 * math.pi * times / LOOP_S
    mouth = 0.25 + 0.4 * torch.sin(9 * turn) + 0.3 * torch.sin(5 * turn + 1.0)
    closing = (torch.sin(2 * turn) - 0.94).clamp(min=0) / 0.06
    return Expressions(mouth.clamp(0, 1), 1 - closing)


def write_clip(target: Path, pictures: Tensor) -> None:
    """Write pictures (T, H, W, 3) uint8 as a video, one FPS-th of a second each."""
    _, height, width, _ = pictures.shape
    options = {
        "deadline": "good",
        "cpu-used": "0",
        "crf": QUALITY,
        "threads": "1",  # as many would write other bytes
        "flags": "+bitexact",
    }
    with av.open(str(target), "w", format="webm", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libvpx", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = MOST_BITRATE
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, picture in enumerate(pictures.numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


if __name__ == "__main__":
    main()
