"""Streams that the built-in model is judged on: scenes that training never saw, and streams that follow them.

scene = held_out_scene(0, num_frames(2), size=(144, 256), device=device)
chunks = play(pipeline, ["a golden statue"] * 2, scene.depth)        # 9 frames, then 12
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.embedded.data.camera import gray_of
from scripts.embedded.data.clips import FPS
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.scenes.procedural import inverse_depth, normalised_depth, render, sample_scenes
from streaming.api import CHUNK, FIRST_CHUNK, ControlName
from streaming.blocks.text_conditioning import parse_prompts
from streaming.controls.control_videos import control_videos
from streaming.depth.estimators import DepthEstimator
from streaming.pipeline import LongLivePipeline, Sampling


@dataclass(frozen=True, slots=True)
class Scene:
    depth: Tensor  # (T, H, W) true, 0 far ... 1 near by the clip's percentiles
    camera: Tensor | None  # (T, 3, H, W) in [-1, 1]: what a webcam would have seen

    @property
    def gray(self) -> Tensor | None:
        """(T, H, W) in [0, 1]: the camera's."""
        return None if self.camera is None else gray_of(self.camera[None])[0]


def num_frames(chunks: int) -> int:
    """Frames of a stream's first `chunks` chunks."""
    return FIRST_CHUNK + CHUNK * (chunks - 1)


def chunk_starts(chunks: int) -> list[int]:
    """Index of each chunk's first frame."""
    return [0, *range(FIRST_CHUNK, num_frames(chunks), CHUNK)]


@torch.no_grad()
def held_out_scene(
    number: int,
    frames: int,
    *,
    size: tuple[int, int],
    device: torch.device,
    still: float = 0.15,
    with_camera: bool = False,
) -> Scene:
    """Scene `number` at the frame rate of training; the same on every device, but for its camera's noise."""
    drawn = torch.Generator().manual_seed(HELD_OUT_SEED + number)
    scenes = sample_scenes(1, drawn, still=still).to(device)
    times = (torch.arange(frames) / FPS + 10 * torch.rand(1, generator=drawn)).to(device)
    surface = render(scenes, times[None], height=size[0], width=size[1])
    camera = None
    if with_camera:
        from scripts.embedded.scenes.photo import photograph

        light = torch.Generator(device).manual_seed(HELD_OUT_SEED + number)
        camera = photograph(surface, scenes, light)[0]
    return Scene(normalised_depth(inverse_depth(surface))[0], camera)


def play(
    pipeline: LongLivePipeline,
    prompts: Sequence[str],
    depth: Tensor,
    *,
    gray: Tensor | None = None,
    seed: int = 0,
    scale: float = 1.0,
    cut_at: int | None = None,
    references: Sequence[Tensor] = (),
    mask: Tensor | None = None,
    kept: Tensor | None = None,
    steps: tuple[int, ...] | None = None,
) -> Iterator[Tensor]:
    """A new stream of one chunk a prompt, each (9 or 12, 3, H, W) float32 in [0, 1].

    `depth` and `gray` (T, H, W) in [0, 1] go round and round if they are too short; without gray, depth alone
    guides. `scale` is the strength of depth. Chunk `cut_at` begins with a hard
    cut and shows its newest 9 frames. `references`: pictures (3, H, W) in [-1, 1], repeated with every chunk.
    `mask` (H, W), 1 = paint, 0 = keep `kept` (T, 3, H, W) in [-1, 1]. `steps`: nominal denoising steps, None
    as served.
    """
    session = pipeline.open_session(seed=seed)
    given: dict[ControlName, Tensor] = {"depth": depth}
    if gray is not None:
        given["gray"] = gray
    at = 0
    for index, prompt in enumerate(prompts):
        count = FIRST_CHUNK if index == 0 else CHUNK
        frames = torch.arange(at, at + count, device=depth.device) % len(depth)
        at += count
        pictures: dict[ControlName, Tensor] = {
            name: (picture[frames] * 2 - 1).to(pipeline.device, pipeline.dtype)
            for name, picture in given.items()
        }
        videos = control_videos(pipeline.preset.control_videos, pictures, {"depth": scale, "gray": 1.0})
        masks = source = None
        if mask is not None and kept is not None:
            masks = mask.expand(1, 1, count, *mask.shape).to(pipeline.device, pipeline.dtype)
            source = kept[frames].movedim(1, 0)[None].to(pipeline.device, pipeline.dtype)
        video = pipeline.generate(
            session,
            parse_prompts(prompt),
            guidance_mode="depth+r2v" if references else "depth",
            vace_input=videos,
            vace_input_masks=masks,
            vace_source=source,
            ref_images=list(references) or None,
            references_every_chunk=bool(references),
            vace_context_scale=scale,
            transition="cut" if index == cut_at else "recache",
            sampling=Sampling(steps=steps),
        )
        yield video.movedim(-1, 1).float()


@torch.inference_mode()
def through_autoencoder(pipeline: LongLivePipeline, frames: Tensor) -> Tensor:
    """Frames (T, 3, H, W) in [0, 1], T = 1 + 4 n, encoded and decoded: the best that the generator could
    paint."""
    video = (frames * 2 - 1)[None].to(pipeline.device, pipeline.dtype)
    latents, _ = pipeline.models.autoencoder.encode(video, None)
    decoded, _ = pipeline.decoder.decode(latents, None)
    return (decoded[0].float() * 0.5 + 0.5).clamp(0, 1)


@torch.inference_mode()
def live_depth(estimator: DepthEstimator, frames: Tensor) -> Tensor:
    """Camera frames (T, 3, H, W) in [-1, 1] -> depth (T, H, W) in [0, 1], chunk by chunk as a stream sees
    it."""
    known, parts = estimator.new_range(), []
    for part in [frames[:FIRST_CHUNK], *frames[FIRST_CHUNK:].split(CHUNK)]:
        if len(part):
            depth, known = known.normalise(estimator.estimate(part))
            parts.append(depth * 0.5 + 0.5)
    return torch.cat(parts)
