"""Lessons of the generator, and its sizes: clips of latents -> batches for `predict_flow`."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from scripts.embedded.data.sequences import CHUNKS, Sequences
from scripts.embedded.stages.teacher import Lesson, predict_flow
from streaming.blocks.denoise import Denoiser
from streaming.checkpoints.presets import EMBEDDED, Preset
from streaming.config import CHUNK_LATENTS
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.text_encoder import TextEncoder

SERVED = 0.7  # share of noise levels that are those of LEVELS
LEVELS = replace(EMBEDDED.sampler, denoising_step_list=(1000, 750, 500, 250))  # those served, or asked for


class Generator(nn.Module):
    """What is trained together."""

    def __init__(self, preset: Preset, tokenizer_folder: Path) -> None:
        super().__init__()
        self.transformer = CausalVaceWanModel(preset.transformer)
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
        self.text_encoder = TextEncoder(
            preset.text,
            dim=preset.transformer.text_dim,
            text_len=preset.transformer.text_len,
            tokenizer=tokenizer,
        )
        nn.init.zeros_(self.transformer.head.head.weight)
        nn.init.zeros_(self.transformer.head.head.bias)


class Lessons:
    """Turns drawn sequences into batches for `predict_flow`. Its noise is the device's default generator's,
    which a CUDA graph can go on drawing from."""

    def __init__(self, generator: Generator, device: torch.device) -> None:
        self._generator = generator
        self._device = device
        self._served = torch.tensor(Denoiser(LEVELS).sigmas, device=device)
        self._shift = EMBEDDED.sampler.timestep_shift
        self._chunk = torch.arange(CHUNKS, device=device)
        pad = generator.text_encoder.tokenizer.pad_token_id
        self._pad = int(pad) if isinstance(pad, int) else 0

    def lesson(self, drawn: Sequences, references: int) -> tuple[Lesson, Tensor, Tensor]:
        """The lesson with so many reference pictures, the flow it should give (B, n, F, C, h, w), and sigma
        (B, n). `drawn.tokens` are those of one caption, (B, 2, text_len)."""
        batch = len(drawn)
        target = drawn.target.float().unflatten(1, (CHUNKS, CHUNK_LATENTS))
        sigma = self._sigmas(batch)
        noise = torch.randn_like(target)
        # A chunk that starts from the camera has its first step at the noise scale itself; after that it is
        # what was begun, as any other.
        scale = drawn.noise[:, None].expand_as(sigma)
        is_start = (scale < 1) & (sigma >= scale)
        sigma = torch.where(is_start, scale, sigma)
        camera = drawn.camera.float().unflatten(1, (CHUNKS, CHUNK_LATENTS))
        noisy = torch.lerp(torch.where(_wide(is_start), camera, target), noise, _wide(sigma))
        flow = torch.where(_wide(is_start), (noisy - target) / _wide(sigma), noise - target)
        past = target[:, :-1]
        # Remembered chunks are the model's own: a little wrong.
        wrong = 0.2 * torch.rand(batch, CHUNKS - 1, 1, 1, 1, 1, device=self._device)
        gain = 1 + 0.08 * torch.randn(batch, CHUNKS - 1, 1, past.shape[3], 1, 1, device=self._device)
        past = past * gain + wrong * torch.randn_like(past)
        # What the next chunk sees of a remembered one was recomputed under its own prompt; but a sink that
        # the window has left behind was not.
        is_kept = torch.rand(batch, device=self._device) < 0.5
        return self._lesson(drawn, references, noisy, sigma, past, is_kept), flow, sigma

    @torch.no_grad()
    def streamed(self, drawn: Sequences, references: int, preset: Preset) -> Tensor:
        """Latents (B, L, C, h, w) as a stream makes them, from noise alone: in the steps that are served,
        remembering its own chunks. The last chunk remembers one that was made with the true past."""
        target = drawn.target.float().unflatten(1, (CHUNKS, CHUNK_LATENTS))
        sigmas = Denoiser(preset.sampler).sigmas
        noises = [torch.randn_like(target) for _ in sigmas]
        is_kept = torch.zeros(len(drawn), dtype=torch.bool, device=self._device)
        made = target
        for _ in range(2):
            past = made[:, :-1]
            for level, noise in zip(sigmas, noises, strict=True):
                sigma = torch.full(target.shape[:2], level, device=self._device)
                noisy = torch.lerp(made, noise, level) if level < sigmas[0] else noise
                lesson = self._lesson(drawn, references, noisy, sigma, past, is_kept)
                flow = predict_flow(self._generator.transformer, lesson, preset.window)
                made = noisy - level * flow.float()
        return made.flatten(1, 2)

    def _lesson(
        self,
        drawn: Sequences,
        references: int,
        noisy: Tensor,
        sigma: Tensor,
        past: Tensor,
        is_kept: Tensor,
    ) -> Lesson:
        """`is_kept` (B,): whether the first remembered chunk is still read under its own prompt."""
        control = torch.cat([drawn.inactive, drawn.reactive, drawn.mask], 2).float()
        prompt = (self._chunk >= drawn.switch[:, None]).long()
        read_as = prompt[:, 1:].clone()
        read_as[:, 0] = torch.where(is_kept, prompt[:, 0], read_as[:, 0])
        pictures = noised = None
        if references:
            kept = drawn.references[:, :references].float()
            pictures = torch.nn.functional.pad(kept, (0, 0, 0, 0, 0, control.shape[2] - kept.shape[2]))
            several = kept[:, None].expand(-1, CHUNKS, -1, -1, -1, -1)
            noised = torch.lerp(several, torch.randn_like(several), _wide(sigma))
        return Lesson(
            clean=past,
            noisy=noisy,
            timestep=1000 * sigma,
            control=control.unflatten(1, (CHUNKS, CHUNK_LATENTS)),
            scale=drawn.scale,
            text=self._text(drawn.tokens.long()),
            clean_prompt=read_as,
            noisy_prompt=prompt,
            references=pictures,
            noised_references=noised,
        )

    def _sigmas(self, batch: int) -> Tensor:
        """Mostly the noise levels that are served, otherwise any."""
        shape = (batch, CHUNKS)
        u = torch.rand(shape, device=self._device)
        anywhere = self._shift * u / (1 + (self._shift - 1) * u)
        at = torch.randint(len(self._served), shape, device=self._device)
        is_served = torch.rand(shape, device=self._device) < SERVED
        return torch.where(is_served, self._served[at], anywhere.clamp(min=0.02))

    def _text(self, tokens: Tensor) -> Tensor:
        """(B, P, text_len) -> (B, P, text_len, text_dim), zero past each prompt, as `TextEncoder.encode`."""
        flat = tokens.flatten(0, 1)
        text = self._generator.text_encoder.encode_ids(flat, (flat != self._pad).long())
        return text.unflatten(0, tokens.shape[:2])


def _wide(sigma: Tensor) -> Tensor:
    """A number of each chunk, (B, n) -> (B, n, 1, 1, 1, 1), to meet latents."""
    return sigma[:, :, None, None, None, None]
