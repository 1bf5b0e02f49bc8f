"""The autoencoder's second half alone, taught to draw crisply what the generator makes.

The encoder stays as it is, and with it every latent that the generator knows. The generator's latents are a
little wrong, mostly too faint in what it is not sure of; a decoder that has only seen the encoder's draws
that as blur. Here it sees both kinds, and the true pictures.
"""

import random
from pathlib import Path

import torch
from torch import Tensor

from scripts.embedded.data.photographs import Photographs
from scripts.embedded.data.sequences import KIND_SHARES, REFERRED, Pool, Renewal, SequenceMaker
from scripts.embedded.data.video_pool import CROP
from scripts.embedded.graphed import Graphed
from scripts.embedded.stages.autoencoder import (
    convolution_optimizers,
    decibels,
    draw,
    inner_convolutions,
    resume_autoencoder,
    save_autoencoder,
)
from scripts.embedded.stages.generator import load_generator
from scripts.embedded.stages.lessons import Generator, Lessons
from scripts.embedded.stages.picture_losses import contrast_loss, reconstruction_loss
from scripts.embedded.training import Run, Stage, train
from streaming.checkpoints.presets import EMBEDDED, Preset
from streaming.modules.taehv import TAEHV

REPORT = 250  # steps
GENTLE = 0.3  # learning rates, of those that the autoencoder began with
ENCODED = (
    0.34  # share of the crops whose latents are the encoder's, half of them of the camera: masks show it
)
# Weights: contrast 3 gave as much colour error as 1 and kept a tenth more of the contrast. 6 puts beads on
# lines whose place is not known; half-way (the mean of both decoders, which ships) does not.
CONTRAST, MOTION = 4.5, 2.0  # of local contrast, and of change from frame to frame
SWITCHED = 0.4  # share of clips whose prompt changes: what follows is the faintest that a stream makes


def train_decoder(
    run: Run, pool: Pool, tokenizer_folder: Path, *, photographs: Photographs, preset: Preset = EMBEDDED
) -> TAEHV:
    """Go on from the checkpoints of autoencoder and generator below `run.out`, write the autoencoder's back,
    and return its averaged weights.

    A step sees `pool.batch` crops of whole streams. Raises FileNotFoundError without both checkpoints.
    """
    device, out = run.world.device, run.out
    autoencoder, ema, before = resume_autoencoder(out, device)
    own_seed = (run.seed + before) * 1013 + run.world.rank
    torch.manual_seed(own_seed)
    # Of the averages, or the encoder would go on drifting from the one whose latents the generator knows.
    ema.copy_to(autoencoder)
    generator = load_generator(out, tokenizer_folder, preset, device)
    drawings = Drawings(autoencoder, generator, preset, pool, own_seed, photographs)
    renewal = Renewal(pool)
    decoder = autoencoder.decoder
    autoencoder.encoder.requires_grad_(False)
    if device.type == "cuda":
        decoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    latents, video = drawings.draw(pool.batch)

    def learn() -> tuple[Tensor, ...]:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
            drawn = draw(autoencoder, latents)
        contrast = contrast_loss(drawn, video)
        loss = reconstruction_loss(drawn, video, motion=MOTION)
        (loss + CONTRAST * contrast).backward()
        psnr = decibels(drawn.detach(), video)
        encoded = drawings.encoded(pool.batch)
        return loss.detach(), contrast.detach(), psnr[encoded:].mean(), psnr[:encoded].mean()

    graphed = Graphed(learn, device)

    def step(_: int) -> tuple[Tensor, ...]:
        for _ in range(renewal.due(pool.draws)):
            drawings.renew()
        for static, drawn in zip((latents, video), drawings.draw(pool.batch), strict=True):
            static.copy_(drawn)
        return graphed()

    stage = Stage(
        name="decoder",
        model=autoencoder,
        ema=ema,
        before=before,
        optimizers=convolution_optimizers(decoder.parameters(), inner_convolutions(decoder)),
        step=step,
        figures=("loss", "contrast", "psnr", "encoded_psnr"),
        rate=lambda budget: GENTLE * budget.rate(),
        save=lambda at: save_autoencoder(out, autoencoder, ema, at),
        report_every=REPORT,
        more=lambda: {"clips": drawings.made},
    )
    train(stage, run)
    ema.copy_to(autoencoder)
    return autoencoder.eval()


class Drawings:
    """Clips on the device: latents as a stream makes them, the encoder's, and the true pictures in 8 bits."""

    def __init__(
        self,
        autoencoder: TAEHV,
        generator: Generator,
        preset: Preset,
        pool: Pool,
        seed: int,
        photographs: Photographs,
    ) -> None:
        device = next(autoencoder.parameters()).device
        self.made = 0
        self._preset, self._rng = preset, random.Random(seed)
        self._pool, self._size = pool, max(1, pool.size // pool.fresh)
        self._lessons = Lessons(generator, device)
        self._stride = autoencoder.config.space_stride
        self._maker = SequenceMaker(
            autoencoder,
            generator.text_encoder.tokenizer,
            text_len=preset.transformer.text_len,
            height=preset.height,
            width=preset.width,
            seed=seed,
            photographs=photographs,
            gap_after=None,  # a stream's decoder never sees time jump
            switched=SWITCHED,
            started=0.0,  # `streamed` starts from noise
        )
        # A batch each: latents and pictures of what is streamed, of the same encoded, and of the camera.
        self._clips: list[list[tuple[Tensor, Tensor]]] = []
        for _ in range(self._size):
            self.renew()

    @staticmethod
    def encoded(batch: int) -> int:
        """How many crops of a batch, the first ones, have the encoder's latents."""
        return round(batch * ENCODED)

    @torch.no_grad()
    def renew(self) -> None:
        """New clips of one kind in place of the oldest."""
        kind = self._rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]
        clips, pictures, camera = self._maker.pictured(self._pool.scenes, self._pool.paints, kind)
        clips.tokens = clips.tokens[:, 0]
        device = pictures.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            streamed = self._lessons.streamed(clips, int(kind == REFERRED), self._preset)
        pixels, photos = (
            ((video * 0.5 + 0.5) * 255).round_().to(torch.uint8)
            for video in (pictures, camera[:: self._pool.paints])
        )
        seen = clips.camera[:: self._pool.paints]
        self._clips.append([(streamed.half(), pixels), (clips.target, pixels), (seen, photos)])
        del self._clips[: -self._size]
        self.made += len(clips)

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Crops: latents (B, L, C, h, w), and what they are to become (B, T, 3, H, W) in [-1, 1]. Patterns
        keep their place in a token."""
        height, width = (min(CROP, side) for side in (self._preset.height, self._preset.width))
        latents: list[Tensor] = []
        videos: list[Tensor] = []
        for n in range(batch):
            of_camera = n < self.encoded(batch) // 2
            kind = 2 if of_camera else 1 if n < self.encoded(batch) else 0
            source, pixels = self._rng.choice(self._clips)[kind]
            clip = self._rng.randrange(len(pixels))
            y, x = (
                16 * self._rng.randrange((whole - part) // 16 + 1)
                for whole, part in zip(pixels.shape[-2:], (height, width), strict=True)
            )
            s = self._stride
            latents.append(source[clip, :, :, y // s : (y + height) // s, x // s : (x + width) // s])
            videos.append(pixels[clip, :, :, y : y + height, x : x + width])
        return torch.stack(latents).float(), torch.stack(videos).float() / 127.5 - 1
