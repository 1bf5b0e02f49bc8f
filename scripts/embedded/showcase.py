"""The looks that the page offers, each with a picture of it that the model paints itself."""

import json
from pathlib import Path

import torch
from PIL import Image

from scripts.embedded.data.camera import gray_of
from scripts.embedded.data.clips import depth_clips
from scripts.embedded.judging.streams import num_frames, play
from scripts.embedded.scenes.photo import photograph
from streaming.pipeline import LongLivePipeline

# Name on the page -> prompt. The file of a picture is named after the look.
SHOWCASE = {
    "Molten gold": "a statue of molten gold",
    "Chrome": "a person made of polished silver",
    "Jade": "a jade figurine",
    "Ice": "a sculpture of ice",
    "Lava": "glowing lava",
    "Porcelain": "painted porcelain",
    "Chocolate": "dark chocolate",
    "Tiger": "tiger stripes",
    "Leopard": "leopard fur",
    "Zebra": "zebra stripes",
    "Blueprint": "a blueprint",
    "Thermal camera": "thermal camera",
    "X-ray": "an x-ray",
    "Hologram": "a hologram",
    "Pencil sketch": "a pencil sketch",
    "Engraving": "a banknote engraving",
    "Comic": "a comic book",
    "Knitted": "knitted from wool",
    "Lego": "built from lego bricks",
    "8-bit": "8-bit pixel art",
    "Mosaic": "a roman mosaic",
    "Brick": "made of bricks",
    "Paper cut": "layers of cut paper",
    "Rainbow": "rainbow colours",
    "Amethyst": "an amethyst crystal",
    "Toy": "a plastic toy",
    "Neon": "a neon sign",
    "Gold on black": "a golden statue against a black background",
    "Chrome and curtain": "a chrome statue in front of a red curtain",
    "Toy in a meadow": "a yellow plastic toy in a meadow",
}
SCENE_SEED = 1_000_000_077  # never trained on: those seeds lie below a million
SIZE = (160, 90)
CHUNKS = 3


@torch.no_grad()
def write_showcase(pipeline: LongLivePipeline, folder: Path) -> None:
    """Write `looks.json` and `thumbnails/` into `folder`: one held-out scene, its true depth and what a
    camera sees of it, each prompt."""
    height, width = pipeline.preset.height, pipeline.preset.width
    generator = torch.Generator().manual_seed(SCENE_SEED)
    frames = num_frames(CHUNKS)
    depth, surface, scenes = depth_clips(
        1, frames, generator, height=height, width=width, webcam=1.0, still=1.0
    )
    gray = gray_of(photograph(surface, scenes, generator))
    (folder / "thumbnails").mkdir(parents=True, exist_ok=True)
    looks: list[dict[str, str]] = []
    for name, prompt in SHOWCASE.items():
        *_, last = play(pipeline, [prompt] * CHUNKS, depth[0], gray=gray[0])
        file = f"thumbnails/{name.lower().replace(' ', '-')}.webp"
        pixels = (last[-1].movedim(0, -1) * 255).round().to(torch.uint8).cpu().numpy()
        Image.fromarray(pixels).resize(SIZE, Image.Resampling.LANCZOS).save(
            folder / file, quality=82, method=6
        )
        looks.append({"name": name, "prompt": prompt, "thumbnail": file})
    (folder / "looks.json").write_text(json.dumps(looks, indent=1) + "\n")
