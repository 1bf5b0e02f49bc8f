"""Sheet of what is being trained: clips of the last checkpoints beside their true pictures, to be looked at.

write_samples(Path("out/train"), tokenizer_folder, file=Path("out/samples.png"), ...)
"""

from pathlib import Path

import torch
from torch import Tensor

from scripts.embedded.data.photographs import Photographs
from scripts.embedded.data.sequences import PLAIN, SequenceMaker
from scripts.embedded.judging.sheets import Sheet
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.stages.autoencoder import load_autoencoder
from scripts.embedded.stages.generator import load_generator
from scripts.embedded.stages.lessons import Lessons
from streaming.checkpoints.presets import Preset
from streaming.modules.taehv import TAEHV

TITLE = "camera | decoded | control decoded | truth | decoded | painted in the served steps"


@torch.no_grad()
def write_samples(
    out: Path,
    tokenizer_folder: Path,
    *,
    preset: Preset,
    photographs: Photographs,
    device: torch.device,
    file: Path,
    scenes: int = 4,
    paints: int = 6,
) -> None:
    """Write a PNG of so many scenes, each in so many looks. Raises FileNotFoundError without the checkpoints
    of autoencoder and generator below `out`."""
    torch.manual_seed(HELD_OUT_SEED)
    autoencoder = load_autoencoder(out, device)
    generator = load_generator(out, tokenizer_folder, preset, device)
    maker = SequenceMaker(
        autoencoder,
        generator.text_encoder.tokenizer,
        text_len=preset.transformer.text_len,
        height=preset.height,
        width=preset.width,
        seed=HELD_OUT_SEED,
        photographs=photographs,
        gap_after=None,
        switched=0.0,
        started=0.0,
    )
    sheet = Sheet(TITLE, columns=2)
    for _ in range(scenes):
        clips, truth, camera = maker.pictured(1, paints, PLAIN)
        clips.tokens = clips.tokens[:, 0]
        painted = Lessons(generator, device).streamed(clips, 0, preset)
        strips = [
            camera,
            _decoded(autoencoder, clips.camera),
            _decoded(autoencoder, clips.reactive),
            truth,
            _decoded(autoencoder, clips.target),
            _decoded(autoencoder, painted),
        ]
        for n in range(paints):
            sheet.add(f"strength {clips.scale[n]:.2f}", [video[n, -1] * 0.5 + 0.5 for video in strips])
    sheet.save(file)


def _decoded(autoencoder: TAEHV, latents: Tensor) -> Tensor:
    video, _ = autoencoder.decode(latents.float(), None)
    return video
