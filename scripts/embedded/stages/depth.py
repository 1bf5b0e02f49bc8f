"""The built-in model's depth net: a small Depth-Anything, trained on pictures of procedural scenes.

    train_depth(out, World.join("cuda"), minutes=5)     # writes out/depth-anything-tiny
    evaluate_depth(out / "depth-anything-tiny")         # {"correlation": ..., ...}

The scenes give true inverse depth; what is learned is its order and relative spacing, frame by frame.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.embedded.checkpoints import load_checkpoint, save_checkpoint
from scripts.embedded.data.depth_pictures import HEIGHT, WIDTH, Supply, photographs, sample_surfaces
from scripts.embedded.graphed import Gradients, Graphed
from scripts.embedded.judging.probes import HELD_OUT_SEED
from scripts.embedded.optimizers import Muon
from scripts.embedded.stages.depth_loss import DEPTH_OF_FAR, correlation, depth_loss
from scripts.embedded.training import Budget, Ema, Log
from scripts.embedded.world import World

NAME = "depth-anything-tiny"
PATCH = 8
# Steps between two batches of new scenes: on a GPU scenes and photographs take as long as 17 steps, and each
# picture comes a dozen times, varied.
_DRAWS = 20
_MUON_RATE, _ADAM_RATE = 2e-3, 1.5e-3


def build_depth_net() -> tuple[Any, Any]:
    """A fresh net on the CPU (RGB (B, 3, 72, 128) in [-1, 1] -> inverse depth (B, 72, 128), >= 0) and its
    image processor."""
    # Here and not at the top: transformers takes seconds to import.
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    backbone = Dinov2Config(
        hidden_size=160,
        num_hidden_layers=5,
        num_attention_heads=5,
        mlp_ratio=4,
        # Dinov2 keeps positions for a square: as many as 16 x 9, stretched to it.
        image_size=math.isqrt(HEIGHT * WIDTH),
        patch_size=PATCH,
        out_indices=[2, 3, 4, 5],  # pyright: ignore[reportCallIssue]
        reshape_hidden_states=False,
        use_mask_token=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=PATCH,
        reassemble_hidden_size=160,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[32, 48, 64, 96],
        fusion_hidden_size=32,
        head_hidden_size=16,
    )
    model = DepthAnythingForDepthEstimation(config)
    _initialise(model)
    processor = DPTImageProcessorPil(
        size={"height": HEIGHT, "width": WIDTH},
        keep_aspect_ratio=False,
        ensure_multiple_of=PATCH,
        resample=2,  # bilinear
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return model, processor


@torch.no_grad()
def _initialise(model: Any) -> None:
    """Weights by fan-in.

    The library's 0.02 suits wide layers only: through a dozen narrow ones the picture fades to nothing, the
    output is one constant, and if that is negative the last ReLU never lets a gradient back.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):  # kernel as large as the stride: one tap per output
                inputs = module.in_channels
            gain = 2.0 if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) else 1.0
            nn.init.trunc_normal_(module.weight, std=math.sqrt(gain / inputs))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    # Beside a picture of this contrast, positions of 0.02 would not be seen.
    nn.init.trunc_normal_(model.backbone.embeddings.position_embeddings, std=0.3)
    # Residual branches begin small, and the output in the middle of what it has to become.
    for layer in model.neck.fusion_stage.layers:
        for unit in (layer.residual_layer1, layer.residual_layer2):
            unit.convolution2.weight.mul_(0.2)
    model.head.conv3.weight.mul_(0.1)
    nn.init.constant_(model.head.conv3.bias, DEPTH_OF_FAR + 0.5)


def train_depth(
    out: Path,
    world: World,
    *,
    minutes: float | None = None,
    steps: int = 20_000,
    span: tuple[float, float] = (0.0, 1.0),
    batch: int = 192,
    pool: int = 24_000,
    seed: int = 0,
    resume: bool = False,
) -> Path:
    """Train until `steps` or `minutes`, whichever comes first, and write the averaged net to `out`/NAME. The
    run is the part `span` of a whole training, whose learning rate it follows.

    `batch` is one process's; `seed` 0 ... 999999. `resume` goes on from `out`/depth-checkpoint, if there is
    one. Every process of the world calls this; the first one writes. Returns the net's folder.
    """
    device, checkpoint = world.device, out / "depth-checkpoint"
    torch.manual_seed(seed)  # the same weights in every process
    torch.set_float32_matmul_precision("high")  # at this size TF32 is faster than bfloat16 and its casts
    torch.backends.cudnn.allow_tf32 = True
    model, processor = build_depth_net()
    model.to(device).train()
    # While it learns, the output may fall below zero, or a dead pixel would stay dead.
    model.head.activation2 = nn.Identity()
    inner = {name: p for name, p in model.named_parameters() if ".encoder." in name and p.ndim == 2}
    # In 110 steps of 16 pictures this came to a loss of 0.76 where AdamW alone, at the better of two rates,
    # had 1.02.
    muon = Muon(list(inner.values()))
    adam = torch.optim.AdamW(
        [p for name, p in model.named_parameters() if name not in inner],
        lr=_ADAM_RATE,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        fused=device.type == "cuda",
    )
    ema = Ema(model, 0.999)
    budget, before = Budget(steps, minutes, span), 0
    if resume and (found := load_checkpoint(checkpoint)) is not None:
        before = _restore(found[0], found[1], model, ema, muon, adam)
    generator = torch.Generator(device).manual_seed(seed + before + 7919 * world.rank)
    supply = Supply(pool, 96 if device.type == "cuda" else batch, generator)
    judge = _held_out(device)
    log = Log(out / "depth.jsonl", world)
    gradients = Gradients(list(model.parameters()))
    pictures, disparity = supply.draw(batch)

    def learn() -> tuple[Tensor, ...]:
        gradients.flat.zero_()
        predicted = model(pixel_values=pictures).predicted_depth.float()
        loss, pull = depth_loss(predicted, disparity)
        (loss + 2 * pull).backward()
        return loss.detach(), pull.detach(), correlation(predicted.detach(), disparity).mean()

    learning = Graphed(learn, device)
    while budget.goes_on(world):
        if budget.step % (_DRAWS if supply.is_full else 2) == 0:
            supply.renew()
        for static, drawn in zip((pictures, disparity), supply.draw(batch), strict=True):
            static.copy_(drawn)
        figures = learning()
        gradients.finish(world)
        factor = min(1.0, (budget.step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * budget.share))
        muon.step(_MUON_RATE * factor)
        for group in adam.param_groups:
            group["lr"] = _ADAM_RATE * factor
        adam.step()
        ema.update(model, budget.step)
        budget.step += 1
        if budget.step % 200 == 0:
            loss, pull, train_corr = torch.stack(figures).tolist()
            corr = judge(model, ema) if world.rank == 0 else 0.0
            log(step=before + budget.step, loss=loss, pull=pull, train_corr=train_corr, corr=corr)
        if budget.step % 5000 == 0 and world.rank == 0:
            save_checkpoint(checkpoint, *_state(model, ema, muon, adam, before + budget.step))
    if world.rank == 0:
        save_checkpoint(checkpoint, *_state(model, ema, muon, adam, before + budget.step))
        log(step=before + budget.step, corr=judge(model, ema), done="yes")
        save_depth_net(out / NAME, model, processor, ema)
    return out / NAME


def save_depth_net(folder: Path, model: Any, processor: Any, ema: Ema | None = None) -> None:
    """Write the net in half precision, with the processor beside it; with `ema`, its averaged weights."""
    final, _ = build_depth_net()
    final.load_state_dict(model.state_dict())
    if ema is not None:
        final.cpu()
        for name, parameter in final.named_parameters():
            parameter.data.copy_(ema.average[name])
    final.half().save_pretrained(folder)
    processor.save_pretrained(folder)


def evaluate_depth(folder: Path, *, scenes: int = 48, device: str = "cpu") -> dict[str, float]:
    """How well the net in `folder` sees held-out scenes at the served size, by the served path.

    correlation: mean Pearson's r with true inverse depth; worst_tenth: its 10th percentile; people and
    clutter: its mean for scenes with a person and without; not_telling: its mean over scenes with all those
    that show one bare surface, see `sample_surfaces`.
    """
    from streaming.depth import TransformersDepth

    estimator = TransformersDepth(str(folder), device, torch.float32)

    def judged(*, telling: bool) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        found, kinds = [], []
        for begun in range(0, scenes, 12):
            surface, drawn = sample_surfaces(min(12, scenes - begun), generator, telling=telling)
            pictures, disparity = photographs(surface, drawn, generator, shrink=1)
            found.append(correlation(estimator.estimate(pictures.to(device)).cpu(), disparity))
            kinds.append(drawn.kind)
        return torch.cat(found), torch.cat(kinds)

    r, kind = judged(telling=True)
    return {
        "correlation": r.mean().item(),
        "worst_tenth": r.quantile(0.1).item(),
        "people": r[kind == 0].mean().item(),
        "clutter": r[kind == 1].mean().item(),
        "not_telling": judged(telling=False)[0].mean().item(),
    }


def _held_out(device: torch.device) -> Callable[[Any, Ema], float]:
    """A judge of averaged weights: correlation on a fixed batch that training never sees."""
    generator = torch.Generator(device).manual_seed(HELD_OUT_SEED)
    count = 64 if device.type == "cuda" else 8
    pictures, disparity = photographs(*sample_surfaces(count, generator), generator)

    @torch.no_grad()
    def judge(model: Any, ema: Ema) -> float:
        output = torch.func.functional_call(model, ema.average, (), {"pixel_values": pictures})
        return correlation(output.predicted_depth, disparity).mean().item()

    return judge


def _state(
    model: nn.Module, ema: Ema, muon: Muon, adam: torch.optim.Optimizer, step: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    tensors |= {f"ema.{name}": value for name, value in ema.average.items()}
    tensors |= {f"muon.{n}": value for n, value in enumerate(muon.momenta)}
    for index, moments in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{key}": value for key, value in moments.items()}
    return tensors, {"step": step}


def _restore(
    tensors: dict[str, Tensor],
    meta: dict[str, Any],
    model: nn.Module,
    ema: Ema,
    muon: Muon,
    adam: torch.optim.Optimizer,
) -> int:
    """Take all up again, moments if there are any; returns the step to go on from."""
    moments: dict[int, dict[str, Tensor]] = {}
    # `transformers` renames its modules from one release to another, and the sizes here have changed, too.
    if strange := [
        n for n, p in model.named_parameters() if getattr(tensors.get(f"model.{n}"), "shape", None) != p.shape
    ]:
        raise ValueError(
            f"depth-checkpoint: expected {strange[0]} and {len(strange) - 1} more as this net has them"
        )
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(tensors[f"model.{name}"])
            ema.average[name].copy_(tensors[f"ema.{name}"])
        for n, momentum in enumerate(muon.momenta):
            if (saved := tensors.get(f"muon.{n}")) is not None:
                momentum.copy_(saved)
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
    adam.load_state_dict(adam.state_dict() | {"state": moments})
    return int(meta["step"])
