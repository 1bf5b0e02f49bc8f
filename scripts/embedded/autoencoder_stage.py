"""The autoencoder: TAEHV's class at the built-in preset's size, trained on looks, depth and camera
pictures."""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.embedded.clips import degraded, depth_clips
from scripts.embedded.graphed import Gradients, Graphed, Muon
from scripts.embedded.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint, paint
from scripts.embedded.photo import photograph
from scripts.embedded.training import Budget, Ema, Log, World, load_checkpoint, save_checkpoint
from streaming.modules.taehv import TAEHV, MemBlock, TGrow, TPool
from streaming.presets import EMBEDDED

FRAMES = 17
CROP = 96  # pixels each way of what a step sees: many small steps teach more than few large ones
REUSED = 30  # steps between two batches of new videos
RENDERED = 24  # videos made together
MUON_RATE, ADAM_RATE = 1.5e-3, 2e-3
LATENT_NOISE = 0.06
CONTRAST = 2.0  # latents of a mid-grey ... white picture, at the start


def build_autoencoder() -> TAEHV:
    """Starts as the codec that stores the mean colour of a block: what training then adds to, and never has
    to find."""
    config = EMBEDDED.autoencoder
    autoencoder = TAEHV(config)  # type: ignore[arg-type]
    with torch.no_grad():
        for half in (autoencoder.encoder, autoencoder.decoder):
            _start_as_identity(half, autoencoder.config.patch_size)
    return autoencoder


def _start_as_identity(layers: nn.Sequential, patch: int) -> None:
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    pixels = patch * patch
    for layer in layers:
        match layer:
            case MemBlock():
                last = layer.conv[-1]
                assert isinstance(last, nn.Conv2d) and last.bias is not None
                last.weight.mul_(0.2)
                last.weight[:3] = 0
                last.bias.zero_()
            case TPool():
                channels = layer.conv.out_channels
                layer.conv.weight[:3] = 0
                for c in range(3):
                    layer.conv.weight[c, c::channels] = 1 / layer.stride
            case TGrow():
                grown, channels = layer.conv.weight, layer.conv.in_channels
                for copy in range(layer.stride):
                    grown[copy * channels : copy * channels + 3] = 0
                    for c in range(3):
                        grown[copy * channels + c, c] = 1
            case nn.Conv2d():
                layer.weight[:3] = 0
                if layer.bias is not None:
                    layer.bias[:3] = 0
                if layer is convs[0] and layer.in_channels == 3 * pixels:  # pixels -> colours
                    for c in range(3):
                        layer.weight[c, c * pixels : (c + 1) * pixels, 1, 1] = 1 / pixels
                elif layer is convs[-1] and layer.out_channels == 3 * pixels:  # colours -> pixels
                    layer.weight.mul_(0.2)
                    assert layer.bias is not None
                    layer.bias.zero_()
                    for c in range(3):
                        layer.weight[c * pixels : (c + 1) * pixels] *= 0.3
                        layer.weight[c * pixels : (c + 1) * pixels, :3] = 0
                        layer.weight[c * pixels : (c + 1) * pixels, c, 1, 1] = 1
                elif layer is convs[-1]:  # colours -> latents, about -1 ... 1
                    assert layer.bias is not None
                    for c in range(3):
                        layer.weight[c, c, 1, 1] = CONTRAST * 2
                        layer.bias[c] = -CONTRAST
                elif layer is convs[0]:  # latents -> colours
                    assert layer.bias is not None
                    for c in range(3):
                        layer.weight[c, c, 1, 1] = 1 / (CONTRAST * 2)
                        layer.bias[c] = 0.5
                elif layer.stride[0] == 2:  # mean of 2 x 2
                    for c in range(3):
                        layer.weight[c, c, 1:, 1:] = 0.25
                else:
                    for c in range(3):
                        layer.weight[c, c, 1, 1] = 1
            case _:
                pass


def random_paint(rng: random.Random) -> Paint:
    look = rng.choice(LOOKS)
    colour = rng.choice([None, *COLOURS]) if look in COLOURED else None
    return Paint(look, colour, rng.choice(BACKGROUNDS) if rng.random() < 0.3 else None)


def reconstruction_loss(out: Tensor, video: Tensor) -> Tensor:
    """Colour, edges at two scales, motion. Both (B, T, 3, H, W)."""
    loss = (out - video).abs().mean() + 2 * F.mse_loss(out, video)
    a, b = out.flatten(0, 1), video.flatten(0, 1)
    for _ in range(2):
        loss = loss + 0.5 * ((a.diff(dim=-1) - b.diff(dim=-1)).abs().mean())
        loss = loss + 0.5 * ((a.diff(dim=-2) - b.diff(dim=-2)).abs().mean())
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return loss + 0.2 * (out.diff(dim=1) - video.diff(dim=1)).abs().mean()


def train_autoencoder(
    out: Path,
    *,
    world: World,
    minutes: float | None,
    steps: int | None,
    batch: int = 24,
    seed: int = 0,
    resume: bool = False,
    span: tuple[float, float] = (0.0, 1.0),
    with_muon: bool = True,
    pool_size: int = 1200,
    height: int = EMBEDDED.height,
    width: int = EMBEDDED.width,
) -> TAEHV:
    """Train, save checkpoints below `out`, and return the averaged weights.

    A step sees `batch` crops; `span` is the part of the whole training that this run is.
    """
    device = world.device
    torch.manual_seed(seed)
    autoencoder = build_autoencoder().to(device)
    ema = Ema(autoencoder, 0.999)
    budget, log = Budget(steps, minutes, span), Log(out / "autoencoder.jsonl", world)
    before = 0
    if resume and (found := load_checkpoint(out / "autoencoder")):
        tensors, meta = found
        autoencoder.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        ema.average = {k[4:]: v.to(device) for k, v in tensors.items() if k.startswith("ema.")}
        before = meta["step"]
    own_seed = (seed + before) * 997 + world.rank
    torch.manual_seed(own_seed)
    if device.type == "cuda":
        autoencoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    inner = {id(p) for p in _inner(autoencoder)} if with_muon else set[int]()
    muon = Muon([p for p in autoencoder.parameters() if id(p) in inner], weight_decay=0.0)
    adam = torch.optim.AdamW(
        [p for p in autoencoder.parameters() if id(p) not in inner],
        lr=ADAM_RATE,
        betas=(0.9, 0.98),
        weight_decay=1e-3,
        fused=device.type == "cuda",
    )
    pool = VideoPool(pool_size, min(RENDERED, pool_size), height, width, own_seed, device)
    gradients = Gradients(list(autoencoder.parameters()))
    video = pool.draw(batch)

    def learn() -> tuple[Tensor, ...]:
        gradients.flat.zero_()
        on_cuda = device.type == "cuda"
        with torch.autocast(device.type, torch.bfloat16, enabled=on_cuda, cache_enabled=False):
            latents, _ = autoencoder.encode(video, None)
            noise = LATENT_NOISE * torch.rand(len(video), 1, 1, 1, 1, device=device)
            raw, _ = autoencoder.draw(latents + noise * torch.randn_like(latents))
        result = raw.float()[:, autoencoder.frames_to_trim :]
        loss = reconstruction_loss(result * 2 - 1, video)
        flat = latents.float().transpose(0, 2).flatten(1)
        spread = (flat.mean(1).square() + (flat.std(1) - 1).square()).mean()
        (loss + 0.02 * spread).backward()
        error = (result.detach().clamp(0, 1) - (video * 0.5 + 0.5)).square().mean((1, 2, 3, 4))
        psnr = -10 * error.clamp(min=1e-10).log10()
        painted, depth, camera = psnr.split(pool.shares(batch))
        return loss.detach(), spread.detach(), painted.mean(), depth.mean(), camera.mean()

    learning = Graphed(learn, device)
    while budget.goes_on(world):
        if budget.step % REUSED == 0:
            pool.renew()
        video.copy_(pool.draw(batch))
        figures = learning()
        gradients.finish(world)
        rate = budget.rate(decay_from=0.3)
        muon.step(MUON_RATE * rate)
        for group in adam.param_groups:
            group["lr"] = ADAM_RATE * rate
        adam.step()
        ema.update(autoencoder, budget.step)
        budget.step += 1
        if budget.step % 250 == 0:
            names = ("loss", "spread", "psnr", "depth_psnr", "camera_psnr")
            log(step=before + budget.step, **dict(zip(names, torch.stack(figures).tolist(), strict=True)))
        if budget.step % 10_000 == 0 and world.rank == 0:
            _save(out, autoencoder, ema, before + budget.step)
    if world.rank == 0:
        _save(out, autoencoder, ema, before + budget.step)
    ema.copy_to(autoencoder)
    return autoencoder.eval()


def _inner(autoencoder: TAEHV) -> list[nn.Parameter]:
    """The convolutions between features; those that meet pixels or latents are not among them."""
    found: list[nn.Parameter] = []
    for half in (autoencoder.encoder, autoencoder.decoder):
        convs = [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)]
        for conv in convs[1:-1]:
            assert isinstance(conv.weight, nn.Parameter)
            found.append(conv.weight)
    return found


class VideoPool:
    """Videos on the device in 8 bits, in three kinds: painted, of depth, of the camera."""

    def __init__(
        self, size: int, batch: int, height: int, width: int, seed: int, device: torch.device
    ) -> None:
        """`batch` videos are made at a time."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._rng = random.Random(seed)
        self._batch, self._size = batch, (height, width)
        self._kinds: list[Tensor] = []
        self._made = 0
        for share, part in zip(self.shares(batch), self._make(), strict=True):
            held = max(share, size * share // batch // share * share)
            self._kinds.append(torch.zeros(held, *part.shape[1:], dtype=torch.uint8, device=device))
        while self._made * batch < size:
            self.renew()

    @staticmethod
    def shares(batch: int) -> list[int]:
        camera, depth = max(1, batch // 8), max(1, batch // 4)
        return [batch - camera - depth, depth, camera]

    def renew(self) -> None:
        """A batch of new videos in place of the oldest."""
        for kind, part in zip(self._kinds, self._make(), strict=True):
            first = self._made * len(part) % len(kind)
            kind[first : first + len(part)] = ((part * 0.5 + 0.5) * 255).round_().to(torch.uint8)
        self._made += 1

    def draw(self, batch: int) -> Tensor:
        """Crops (B, T, 3, CROP, CROP) in [-1, 1] or smaller, in the order of `shares`; patterns keep their
        place in a token."""
        height, width = (min(CROP, side) for side in self._size)
        crops: list[Tensor] = []
        for kind, share, made in zip(self._kinds, self.shares(batch), self.shares(self._batch), strict=True):
            filled = min(len(kind), self._made * made)
            for _ in range(share):
                y, x = (
                    16 * self._rng.randrange((whole - part) // 16 + 1)
                    for whole, part in zip(self._size, (height, width), strict=True)
                )
                crops.append(kind[self._rng.randrange(filled), :, :, y : y + height, x : x + width])
        return torch.stack(crops).float() / 127.5 - 1

    def _make(self) -> list[Tensor]:
        painted, seen, camera = self.shares(self._batch)
        height, width = self._size
        depth, surface, scenes = depth_clips(seen, FRAMES, self._generator, height=height, width=width)
        rows: list[Tensor] = []
        while len(rows) * seen < painted:
            rows.append(paint(depth, [random_paint(self._rng) for _ in range(seen)]))
        maps = degraded(depth, self._generator)[:, :, None].expand(-1, -1, 3, -1, -1) * 2 - 1
        photographed = photograph(surface[:camera], scenes[:camera], self._generator)
        return [torch.cat(rows)[:painted], maps, photographed]


def _save(out: Path, autoencoder: TAEHV, ema: Ema, step: int) -> None:
    tensors = {f"model.{k}": v for k, v in autoencoder.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.average.items()}
    save_checkpoint(out / "autoencoder", tensors, {"step": step})


def load_autoencoder(out: Path, device: torch.device) -> TAEHV:
    """The averaged weights of the last checkpoint below `out`, frozen."""
    found = load_checkpoint(out / "autoencoder")
    if found is None:
        raise FileNotFoundError(f"{out / 'autoencoder'}: no checkpoint; run the autoencoder stage first")
    autoencoder = build_autoencoder()
    autoencoder.load_state_dict({k[4:]: v for k, v in found[0].items() if k.startswith("ema.")})
    return autoencoder.to(device).eval().requires_grad_(False)
