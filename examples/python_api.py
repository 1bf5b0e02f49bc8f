"""The generator without a server: depth in, painted pictures out, chunk by chunk, with a prompt that blends.

python examples/python_api.py painted.webp 6
"""

import sys

import torch
from PIL import Image

from streaming.pipeline import LongLivePipeline
from streaming.vace_utils import extract_depth_chunk, preprocess_depth_frames


def disc(frames: int, height: int = 90, width: int = 160) -> torch.Tensor:
    """Depth (T, H, W) of a disc that circles before a wall; larger is nearer, as depth nets have it."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / height, indexing="ij")
    turn = torch.arange(frames)[:, None, None] / 24
    distance = torch.hypot(x - 0.9 - 0.4 * torch.cos(turn), y - 0.5 - 0.2 * torch.sin(turn))
    return (1 - distance / 0.3).clamp(0) ** 0.5 + 0.1 * y


def paint(target: str, chunks: int) -> None:
    pipeline = LongLivePipeline({}, device=torch.device("cpu"), dtype=torch.float32)
    height, width = pipeline.preset.height, pipeline.preset.width
    depth = preprocess_depth_frames(disc(12 * chunks), height, width, device="cpu")
    pictures: list[Image.Image] = []
    for index in range(chunks):
        prompt = "a statue of molten gold" if index < chunks // 2 else "carved amethyst"
        video = pipeline.generate(
            pipeline.session,
            ((prompt, 1.0),),
            guidance_mode="depth",
            vace_input=extract_depth_chunk(depth, chunk_index=index),
            transition="blend" if index else None,
            blend_chunks=2,
        )
        pictures += [Image.fromarray(picture) for picture in (video * 255).round().byte().numpy()]
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=1000 // 24, loop=0)


if __name__ == "__main__":
    paint(sys.argv[1], int(sys.argv[2]))
