"""The generator with its VACE branch and its text encoder: flow matching with teacher forcing."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from scripts.embedded.autoencoder_stage import load_autoencoder
from scripts.embedded.sequences import CHUNKS, MASKED, PLAIN, REFERRED, SequenceMaker, Sequences
from scripts.embedded.teacher import Lesson, compile_blocks, predict_flow
from scripts.embedded.training import Budget, Ema, Log, World, load_checkpoint, save_checkpoint
from streaming.blocks.denoise import Denoiser
from streaming.config import CHUNK_LATENTS
from streaming.models import Models
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.text_encoder import TextEncoder
from streaming.presets import EMBEDDED, Preset

KIND_SHARES = {PLAIN: 0.66, MASKED: 0.14, REFERRED: 0.2}
MUON_RATE, ADAM_RATE = 1e-3, 1.5e-3


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
    """Turns drawn sequences into batches for `predict_flow`."""

    def __init__(self, generator: Generator, seed: int, device: torch.device) -> None:
        self._generator = generator
        self._noise = torch.Generator(device).manual_seed(seed)
        self._rng = random.Random(seed)
        self._device = device
        self._served = torch.tensor(Denoiser(EMBEDDED.sampler).sigmas, device=device)
        self._shift = EMBEDDED.sampler.timestep_shift
        pad = generator.text_encoder.tokenizer.pad_token_id
        self._pad = int(pad) if isinstance(pad, int) else 0

    def lesson(self, drawn: Sequences) -> tuple[Lesson, Tensor, Tensor]:
        """The lesson, the flow it should give (B, n, F, C, h, w), and sigma (B, n)."""
        batch = len(drawn)
        target = drawn.target.float().unflatten(1, (CHUNKS, CHUNK_LATENTS))
        sigma = self._sigmas(batch)
        noise = self._normal(target.shape)
        wide = sigma[:, :, None, None, None, None]
        noisy = (1 - wide) * target + wide * noise
        past = target[:, :-1]
        # Remembered chunks are the model's own: a little wrong.
        wrong = 0.2 * torch.rand(batch, CHUNKS - 1, 1, 1, 1, 1, generator=self._noise, device=self._device)
        gain = 1 + 0.08 * self._normal((batch, CHUNKS - 1, 1, past.shape[3], 1, 1))
        past = past * gain + wrong * self._normal(past.shape)
        control = torch.cat([drawn.inactive, drawn.reactive, drawn.mask], 2).float()
        chunk = torch.arange(CHUNKS, device=self._device)
        prompt = (chunk >= drawn.switch[:, None]).long()
        references = noised = None
        if int(drawn.kind[0]) == REFERRED:
            count = 1 if self._rng.random() < 0.75 else 2
            pictures = drawn.references[:, :count].float()
            references = torch.nn.functional.pad(
                pictures, (0, 0, 0, 0, 0, control.shape[2] - pictures.shape[2])
            )
            several = pictures[:, None].expand(-1, CHUNKS, -1, -1, -1, -1)
            noised = (1 - wide) * several + wide * self._normal(several.shape)
        lesson = Lesson(
            clean=past,
            noisy=noisy,
            timestep=1000 * sigma,
            control=control.unflatten(1, (CHUNKS, CHUNK_LATENTS)),
            scale=drawn.scale,
            text=self._text(drawn.tokens[:, self._rng.randrange(drawn.tokens.shape[1])].long()),
            clean_prompt=prompt[:, 1:],  # what the next chunk sees of them was recomputed under its prompt
            noisy_prompt=prompt,
            references=references,
            noised_references=noised,
        )
        return lesson, noise - target, sigma

    def _sigmas(self, batch: int) -> Tensor:
        """Mostly the noise levels that are served, otherwise any."""
        shape = (batch, CHUNKS)
        u = torch.rand(shape, generator=self._noise, device=self._device)
        anywhere = self._shift * u / (1 + (self._shift - 1) * u)
        at = torch.randint(len(self._served), shape, generator=self._noise, device=self._device)
        served = torch.rand(shape, generator=self._noise, device=self._device) < 0.7
        return torch.where(served, self._served[at], anywhere.clamp(min=0.02))

    def _text(self, tokens: Tensor) -> Tensor:
        """(B, P, text_len) -> (B, P, text_len, text_dim), zero past each prompt, as `TextEncoder.encode`."""
        flat = tokens.flatten(0, 1)
        return self._generator.text_encoder.encode_ids(flat, (flat != self._pad).long()).unflatten(
            0, tokens.shape[:2]
        )

    def _normal(self, shape: Any) -> Tensor:
        return torch.randn(shape, generator=self._noise, device=self._device)


def build_optimizers(generator: Generator) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices inside blocks, AdamW for everything else; each with its rate."""
    matrices, others = [], []
    for name, parameter in generator.named_parameters():
        is_matrix = parameter.ndim == 2 and "block" in name and "shared" not in name and "bias" not in name
        (matrices if is_matrix else others).append(parameter)
    muon = torch.optim.Muon(
        matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(
        others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=others[0].is_cuda
    )
    return [(muon, MUON_RATE), (adam, ADAM_RATE)]


def train_generator(
    out: Path,
    tokenizer_folder: Path,
    *,
    world: World,
    minutes: float | None,
    steps: int | None,
    batch: int = 32,
    pool: int = 4096,
    draws: float = 5.0,
    scenes: int = 8,
    paints: int = 3,
    seed: int = 0,
    resume: bool = False,
    preset: Preset = EMBEDDED,
    compiled: bool = False,
) -> Generator:
    """Train on the autoencoder below `out`; save checkpoints there and return the averaged weights.

    A clip is drawn `draws` times on average before another takes its place in the pool.
    """
    device = world.device
    torch.manual_seed(seed)
    autoencoder = load_autoencoder(out, device)
    generator = Generator(preset, tokenizer_folder).to(device)
    ema = Ema(generator, 0.999)
    optimizers = build_optimizers(generator)
    budget, log = Budget(steps, minutes), Log(out / "generator.jsonl", world)
    if resume and (found := load_checkpoint(out / "generator")):
        _restore(found, generator, ema, optimizers)
        seed += found[1]["step"]
    own_seed = seed * 1009 + world.rank
    maker = SequenceMaker(
        autoencoder,
        generator.text_encoder.tokenizer,
        text_len=preset.transformer.text_len,
        height=preset.height,
        width=preset.width,
        seed=own_seed,
    )
    lessons = Lessons(generator, own_seed, device)
    rng = random.Random(own_seed)
    kinds, shares = list(KIND_SHARES), list(KIND_SHARES.values())
    fresh = scenes * paints
    pool = max(pool - pool % fresh, 3 * fresh)
    stock = maker.make(scenes, paints, PLAIN)
    stores = Sequences(
        *(
            torch.zeros(pool, *getattr(stock, n).shape[1:], dtype=getattr(stock, n).dtype, device=device)
            for n in Sequences.__slots__
        )
    )
    filled, owed = 0, 0.0
    kind_at = torch.full((pool,), -1)

    def restock(kind: int) -> None:
        nonlocal filled
        at = torch.arange(filled % pool, filled % pool + fresh, device=device)
        stores.put(at, maker.make(scenes, paints, kind))
        kind_at[at.cpu()] = kind
        filled += fresh

    for kind in kinds:
        restock(kind)
    while filled < min(pool, 6 * batch):
        restock(rng.choices(kinds, shares)[0])
    parameters = [p for p in generator.parameters() if p.requires_grad]
    if compiled:
        compile_blocks()
    sums: dict[str, list[Tensor]] = {"loss": [], "x0_at_noise": []}
    while budget.goes_on(world):
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * budget.rate(decay_from=0.4)
        # Early on the pool grows as fast as it can be made; later it is renewed.
        owed += batch / (draws if filled >= pool else 1.5)
        while owed >= fresh:
            restock(rng.choices(kinds, shares)[0])
            owed -= fresh
        is_referred = rng.random() < KIND_SHARES[REFERRED]
        of_kind = (kind_at == REFERRED) if is_referred else (kind_at >= 0) & (kind_at != REFERRED)
        if not of_kind.any():
            of_kind = (kind_at >= 0) & (kind_at != REFERRED)
        candidates = of_kind.nonzero()[:, 0]
        at = candidates[torch.tensor([rng.randrange(len(candidates)) for _ in range(batch)])].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            lesson, wanted, sigma = lessons.lesson(stores[at])
            flow = predict_flow(generator.transformer, lesson, preset.window)
        error = (flow.float() - wanted).square().mean((2, 3, 4, 5))
        loss = error.mean()
        for optimizer, _ in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        world.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
        ema.update(generator, budget.step)
        budget.step += 1
        guided = (sigma > 0.99) & (lesson.scale == 1)[:, None]
        sums["loss"].append(loss.detach())
        sums["x0_at_noise"].append((error.detach() * guided).sum() / guided.sum().clamp(min=1))
        if budget.step % 100 == 0:
            means = {name: torch.stack(values).mean().item() for name, values in sums.items()}
            log(step=budget.step, share=budget.share, clips=filled * world.size, **means)
            for values in sums.values():
                values.clear()
        if budget.step % 2000 == 0 and world.rank == 0:
            _save(out, generator, ema, optimizers, budget.step)
    if world.rank == 0:
        _save(out, generator, ema, optimizers, budget.step)
    ema.copy_to(generator)
    return generator.eval()


def trained_models(out: Path, tokenizer_folder: Path, preset: Preset = EMBEDDED) -> Models:
    """The averaged weights of the last checkpoints below `out`, as the engine holds them."""
    found = load_checkpoint(out / "generator")
    if found is None:
        raise FileNotFoundError(f"{out / 'generator'}: no checkpoint; run the generator stage first")
    generator = Generator(preset, tokenizer_folder)
    average = {k[4:]: v.float() for k, v in found[0].items() if k.startswith("ema.")}
    generator.load_state_dict(average, strict=False)
    autoencoder = load_autoencoder(out, torch.device("cpu"))
    return Models(
        transformer=generator.transformer.eval(),
        autoencoder=autoencoder,
        decoder=autoencoder,
        text_encoder=generator.text_encoder.eval(),
        trained=True,
    )


def _save(
    out: Path,
    generator: Generator,
    ema: Ema,
    optimizers: list[tuple[torch.optim.Optimizer, float]],
    step: int,
) -> None:
    tensors = {f"model.{name}": p for name, p in generator.named_parameters()}
    tensors |= {f"ema.{name}": value.half() for name, value in ema.average.items()}
    for number, (optimizer, _) in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    kept = value.bfloat16() if value.ndim else value
                    tensors[f"optimizer.{number}.{index}.{key}"] = kept
    save_checkpoint(out / "generator", tensors, {"step": step})


def _restore(
    found: tuple[dict[str, Tensor], dict[str, Any]],
    generator: Generator,
    ema: Ema,
    optimizers: list[tuple[torch.optim.Optimizer, float]],
) -> None:
    tensors, _ = found
    with torch.no_grad():
        for name, p in generator.named_parameters():
            p.copy_(tensors[f"model.{name}"])
            ema.average[name].copy_(tensors[f"ema.{name}"])
    for number, (optimizer, _) in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                _, _, index, key = name.split(".", 3)
                state.setdefault(int(index), {})[key] = value.float()
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
