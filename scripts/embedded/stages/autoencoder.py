"""The autoencoder: TAEHV's class at the built-in preset's size, trained on looks, controls and camera
pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.embedded.checkpoints import load_checkpoint, save_checkpoint
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.data.video_pool import VideoPool
from scripts.embedded.graphed import Graphed
from scripts.embedded.optimizers import Optimizers
from scripts.embedded.stages.picture_losses import contrast_loss, reconstruction_loss
from scripts.embedded.training import Budget, Ema, Run, Stage, train
from streaming.checkpoints.presets import EMBEDDED
from streaming.modules.taehv import TAEHV, MemBlock, TGrow, TPool

REUSED = 45  # steps between two batches of new videos
RENDERED = 24  # videos made together
MUON_RATE, ADAM_RATE = 1.5e-3, 2e-3
LATENT_NOISE = 0.06
CONTRAST_WEIGHT = 3.0
MOTION_WEIGHT = 0.6  # a face that speaks is lost in four frames a latent before anything that stands still
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


def train_autoencoder(
    run: Run,
    *,
    batch: int,
    pool_size: int,
    photographs: Photographs,
    with_muon: bool = True,
    height: int = EMBEDDED.height,
    width: int = EMBEDDED.width,
) -> TAEHV:
    """Train, save checkpoints below `run.out`, and return the averaged weights. A step sees `batch` crops."""
    device, out = run.world.device, run.out
    torch.manual_seed(run.seed)
    autoencoder, ema, before = _fresh(device)
    if run.resume and (out / "autoencoder").is_dir():
        autoencoder, ema, before = resume_autoencoder(out, device)
    own_seed = (run.seed + before) * 997 + run.world.rank
    torch.manual_seed(own_seed)
    if device.type == "cuda":
        autoencoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    pool = VideoPool(pool_size, min(RENDERED, pool_size), height, width, own_seed, photographs, device)
    video = pool.draw(batch)

    def learn() -> tuple[Tensor, ...]:
        on_cuda = device.type == "cuda"
        with torch.autocast(device.type, torch.bfloat16, enabled=on_cuda, cache_enabled=False):
            latents, _ = autoencoder.encode(video, None)
            noise = LATENT_NOISE * torch.rand(len(video), 1, 1, 1, 1, device=device)
            drawn = draw(autoencoder, latents + noise * torch.randn_like(latents))
        loss = reconstruction_loss(drawn, video, motion=MOTION_WEIGHT)
        loss = loss + CONTRAST_WEIGHT * contrast_loss(drawn, video)
        flat = latents.float().transpose(0, 2).flatten(1)
        spread = (flat.mean(1).square() + (flat.std(1) - 1).square()).mean()
        (loss + 0.02 * spread).backward()
        psnr = decibels(drawn.detach(), video)
        painted, control, camera = psnr.split(pool.shares(batch))
        return loss.detach(), spread.detach(), painted.mean(), control.mean(), camera.mean()

    graphed = Graphed(learn, device)

    def step(number: int) -> tuple[Tensor, ...]:
        if number % REUSED == 0:
            pool.renew()
        video.copy_(pool.draw(batch))
        return graphed()

    halves = (autoencoder.encoder, autoencoder.decoder) if with_muon else ()
    stage = Stage(
        name="autoencoder",
        model=autoencoder,
        ema=ema,
        before=before,
        optimizers=convolution_optimizers(
            autoencoder.parameters(), [p for half in halves for p in inner_convolutions(half)]
        ),
        step=step,
        figures=("loss", "spread", "psnr", "control_psnr", "camera_psnr"),
        rate=Budget.rate,
        save=lambda at: save_autoencoder(out, autoencoder, ema, at),
        report_every=250,
        save_every=10_000,
    )
    train(stage, run)
    ema.copy_to(autoencoder)
    return autoencoder.eval()


def convolution_optimizers(parameters: Iterable[nn.Parameter], inner: Iterable[nn.Parameter]) -> Optimizers:
    """Muon for the `inner` ones, as they are trained in every half of an autoencoder."""
    return Optimizers(parameters, inner, muon_rate=MUON_RATE, adam_rate=ADAM_RATE, adam_decay=1e-3)


def draw(autoencoder: TAEHV, latents: Tensor) -> Tensor:
    """As `TAEHV.decode` of a stream's start, in float32 and beyond -1 ... 1: gradients pass."""
    video, _ = autoencoder.decode_unclamped(latents)
    return video.float()[:, autoencoder.frames_to_trim :] * 2 - 1


def decibels(drawn: Tensor, video: Tensor) -> Tensor:
    """PSNR of each of (B, T, 3, H, W) in [-1, 1]: (B,)."""
    error = (drawn.clamp(-1, 1) - video).square().mean((1, 2, 3, 4)) / 4
    return -10 * error.clamp(min=1e-10).log10()


def inner_convolutions(network: nn.Module) -> list[nn.Parameter]:
    """The convolutions of an encoder or a decoder between features; those that meet pixels or latents are not
    among them."""
    found: list[nn.Parameter] = []
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for conv in convs[1:-1]:
        assert isinstance(conv.weight, nn.Parameter)
        found.append(conv.weight)
    return found


def save_autoencoder(out: Path, autoencoder: TAEHV, ema: Ema, step: int) -> None:
    tensors = {f"model.{k}": v for k, v in autoencoder.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.average.items()}
    save_checkpoint(out / "autoencoder", tensors, {"step": step})


def _fresh(device: torch.device) -> tuple[TAEHV, Ema, int]:
    autoencoder = build_autoencoder().to(device)
    return autoencoder, Ema(autoencoder, 0.999), 0


def resume_autoencoder(out: Path, device: torch.device) -> tuple[TAEHV, Ema, int]:
    """Weights, their average and the step of the last checkpoint below `out`."""
    tensors, meta = _checkpoint(out)
    autoencoder, ema, _ = _fresh(device)
    autoencoder.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    ema.average = {k[4:]: v.to(device) for k, v in tensors.items() if k.startswith("ema.")}
    return autoencoder, ema, meta["step"]


def load_autoencoder(out: Path, device: torch.device) -> TAEHV:
    """The averaged weights of the last checkpoint below `out`, frozen."""
    tensors, _ = _checkpoint(out)
    autoencoder = build_autoencoder()
    autoencoder.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("ema.")})
    return autoencoder.to(device).eval().requires_grad_(False)


def _checkpoint(out: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found = load_checkpoint(out / "autoencoder")
    if found is None:
        raise FileNotFoundError(f"{out / 'autoencoder'}: no checkpoint; run the autoencoder stage first")
    return found
