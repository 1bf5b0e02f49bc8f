"""The autoencoder's second half alone, taught to draw crisply what the generator makes.

The encoder stays as it is, and with it every latent that the generator knows. The generator's latents are a
little wrong, mostly too faint in what it is not sure of; a decoder that has only seen the encoder's draws
that as blur. Here it sees both kinds, and the true pictures.
"""

import random
from pathlib import Path

import torch
from torch import Tensor

from scripts.embedded.data.sequences import KIND_SHARES, REFERRED, SequenceMaker
from scripts.embedded.data.video_pool import CROP
from scripts.embedded.graphed import Gradients, Graphed
from scripts.embedded.optimizers import Muon
from scripts.embedded.stages.autoencoder import (
    ADAM_RATE,
    MUON_RATE,
    decibels,
    draw,
    inner_convolutions,
    resume_autoencoder,
    save_autoencoder,
)
from scripts.embedded.stages.generator import load_generator
from scripts.embedded.stages.lessons import Generator, Lessons
from scripts.embedded.stages.picture_losses import contrast_loss, reconstruction_loss
from scripts.embedded.training import Budget, Log
from scripts.embedded.world import World
from streaming.modules.taehv import TAEHV
from streaming.presets import EMBEDDED, Preset

REPORT = 250  # steps
GENTLE = 0.3  # learning rates, of those that the autoencoder began with
ENCODED = 0.25  # share of the crops whose latents are the encoder's: masks show the camera through them
# Weights: contrast 3 gave as much colour error as 1 and kept a tenth more of the contrast. 6 puts beads on
# lines whose place is not known; half-way (the mean of both decoders, which ships) does not.
CONTRAST, MOTION = 4.5, 2.0  # of local contrast, and of change from frame to frame
SWITCHED = 0.4  # share of clips whose prompt changes: what follows is the faintest that a stream makes


def train_decoder(
    out: Path,
    tokenizer_folder: Path,
    *,
    world: World,
    minutes: float | None,
    steps: int | None,
    batch: int = 12,
    pool: int = 960,
    draws: float = 12.0,
    scenes: int = 4,
    paints: int = 6,
    seed: int = 0,
    span: tuple[float, float] = (0.0, 1.0),
    preset: Preset = EMBEDDED,
) -> TAEHV:
    """Go on from the checkpoints of autoencoder and generator below `out`, write the autoencoder's back, and
    return its averaged weights.

    A step sees `batch` crops of whole streams; a clip is drawn `draws` times on average.
    """
    device = world.device
    autoencoder, ema, before = resume_autoencoder(out, device)
    own_seed = (seed + before) * 1013 + world.rank
    torch.manual_seed(own_seed)
    # Of the averages, or the encoder would go on drifting from the one whose latents the generator knows.
    ema.copy_to(autoencoder)
    generator = load_generator(out, tokenizer_folder, preset, device)
    drawings = Drawings(autoencoder, generator, preset, pool, scenes, paints, own_seed)
    decoder = autoencoder.decoder
    autoencoder.encoder.requires_grad_(False)
    if device.type == "cuda":
        decoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    inner = {id(p) for p in inner_convolutions(decoder)}
    muon = Muon([p for p in decoder.parameters() if id(p) in inner], weight_decay=0.0)
    adam = torch.optim.AdamW(
        [p for p in decoder.parameters() if id(p) not in inner],
        lr=ADAM_RATE,
        betas=(0.9, 0.98),
        weight_decay=1e-3,
        fused=device.type == "cuda",
    )
    gradients = Gradients(list(decoder.parameters()))
    latents, video = drawings.draw(batch)

    def learn() -> tuple[Tensor, ...]:
        gradients.flat.zero_()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
            drawn = draw(autoencoder, latents)
        contrast = contrast_loss(drawn, video)
        loss = reconstruction_loss(drawn, video, motion=MOTION)
        (loss + CONTRAST * contrast).backward()
        psnr = decibels(drawn.detach(), video)
        encoded = drawings.encoded(batch)
        return loss.detach(), contrast.detach(), psnr[encoded:].mean(), psnr[:encoded].mean()

    learning = Graphed(learn, device)
    budget, log = Budget(steps, minutes, span), Log(out / "decoder.jsonl", world)
    sums: list[list[Tensor]] = [[] for _ in range(4)]
    owed = 0.0
    while budget.goes_on(world):
        owed += batch / draws
        while owed >= scenes * paints:
            drawings.renew()
            owed -= scenes * paints
        for held, drawn in zip((latents, video), drawings.draw(batch), strict=True):
            held.copy_(drawn)
        for values, figure in zip(sums, learning(), strict=True):
            values.append(figure.clone())
        gradients.finish(world)
        rate = GENTLE * budget.rate()
        muon.step(MUON_RATE * rate)
        for group in adam.param_groups:
            group["lr"] = ADAM_RATE * rate
        adam.step()
        ema.update(autoencoder, before + budget.step)
        budget.step += 1
        if budget.step % REPORT == 0:
            names = ("loss", "contrast", "psnr", "encoded_psnr")
            means = (torch.stack(values).mean().item() for values in sums)
            log(step=before + budget.step, clips=drawings.made, **dict(zip(names, means, strict=True)))
            sums = [[] for _ in range(4)]
    if world.rank == 0:
        save_autoencoder(out, autoencoder, ema, before + budget.step)
    ema.copy_to(autoencoder)
    return autoencoder.eval()


class Drawings:
    """Clips on the device: latents as a stream makes them, the encoder's, and the true pictures in 8 bits."""

    def __init__(
        self,
        autoencoder: TAEHV,
        generator: Generator,
        preset: Preset,
        size: int,
        scenes: int,
        paints: int,
        seed: int,
    ) -> None:
        device = next(autoencoder.parameters()).device
        self.made = 0
        self._preset, self._rng = preset, random.Random(seed)
        self._scenes, self._paints, self._size = scenes, paints, max(1, size // (scenes * paints))
        self._lessons = Lessons(generator, device)
        self._stride = autoencoder.config.space_stride
        self._maker = SequenceMaker(
            autoencoder,
            generator.text_encoder.tokenizer,
            text_len=preset.transformer.text_len,
            height=preset.height,
            width=preset.width,
            seed=seed,
            gap_after=None,  # a stream's decoder never sees time jump
            switched=SWITCHED,
        )
        self._clips: list[tuple[Tensor, Tensor, Tensor]] = []  # a batch each: streamed, encoded, pictures
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
        clips, pictures = self._maker.pictured(self._scenes, self._paints, kind)
        clips.tokens = clips.tokens[:, 0]
        device = pictures.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            streamed = self._lessons.streamed(clips, int(kind == REFERRED), self._preset)
        pixels = ((pictures * 0.5 + 0.5) * 255).round_().to(torch.uint8)
        self._clips.append((streamed.half(), clips.target, pixels))
        del self._clips[: -self._size]
        self.made += len(clips)

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Crops: latents (B, L, C, h, w), and what they are to become (B, T, 3, H, W) in [-1, 1]. Patterns
        keep their place in a token."""
        height, width = (min(CROP, side) for side in (self._preset.height, self._preset.width))
        latents: list[Tensor] = []
        videos: list[Tensor] = []
        for n in range(batch):
            streamed, encoded, pixels = self._rng.choice(self._clips)
            clip = self._rng.randrange(len(pixels))
            y, x = (
                16 * self._rng.randrange((whole - part) // 16 + 1)
                for whole, part in zip(pixels.shape[-2:], (height, width), strict=True)
            )
            source, s = encoded if n < self.encoded(batch) else streamed, self._stride
            latents.append(source[clip, :, :, y // s : (y + height) // s, x // s : (x + width) // s])
            videos.append(pixels[clip, :, :, y : y + height, x : x + width])
        return torch.stack(latents).float(), torch.stack(videos).float() / 127.5 - 1
