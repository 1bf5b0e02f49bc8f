"""The built-in model's depth net: a small Depth-Anything, trained on pictures of procedural scenes.

    train_depth(run, batch=192, pool=24_000)            # writes out/depth-anything-tiny
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
from scripts.embedded.graphed import Graphed
from scripts.embedded.optimizers import Optimizers
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.stages.depth_loss import DEPTH_OF_FAR, correlation, depth_loss
from scripts.embedded.training import Ema, Run, Stage, train

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


def train_depth(run: Run, *, batch: int, pool: int) -> Path:
    """Train the net and write the averaged one to `run.out`/NAME; returns that folder.

    `batch`: pictures of one process's step; `pool`: pictures kept. With `run.resume` it goes on from
    `run.out`/depth-checkpoint, if there is one; raises ValueError if that is of another net. The first
    process writes.
    """
    device = run.world.device
    torch.manual_seed(run.seed)  # the same weights in every process
    torch.set_float32_matmul_precision("high")  # at this size TF32 is faster than bfloat16 and its casts
    torch.backends.cudnn.allow_tf32 = True
    model, processor = build_depth_net()
    model.to(device).train()
    # While it learns, the output may fall below zero, or a dead pixel would stay dead.
    model.head.activation2 = nn.Identity()
    # In 110 steps of 16 pictures this came to a loss of 0.76 where AdamW alone, at the better of two rates,
    # had 1.02.
    optimizers = Optimizers(
        model.parameters(),
        [p for name, p in model.named_parameters() if ".encoder." in name and p.ndim == 2],
        muon_rate=_MUON_RATE,
        muon_decay=0.01,
        adam_rate=_ADAM_RATE,
        adam_decay=0.01,
    )
    ema, before = Ema(model, 0.999), 0
    checkpoint = run.out / "depth-checkpoint"
    if run.resume and (found := load_checkpoint(checkpoint)) is not None:
        before = _restore(found[0], found[1], model, ema, optimizers)
    generator = torch.Generator(device).manual_seed(run.seed + before + 7919 * run.world.rank)
    supply = Supply(pool, 96 if device.type == "cuda" else batch, generator)
    judge = _held_out(device)
    pictures, disparity = supply.draw(batch)

    def learn() -> tuple[Tensor, ...]:
        predicted = model(pixel_values=pictures).predicted_depth.float()
        loss, pull = depth_loss(predicted, disparity)
        (loss + 2 * pull).backward()
        return loss.detach(), pull.detach(), correlation(predicted.detach(), disparity).mean()

    graphed = Graphed(learn, device)

    def step(number: int) -> tuple[Tensor, ...]:
        if number % (_DRAWS if supply.is_full else 2) == 0:
            supply.renew()
        for static, drawn in zip((pictures, disparity), supply.draw(batch), strict=True):
            static.copy_(drawn)
        return graphed()

    stage = Stage(
        name="depth",
        model=model,
        ema=ema,
        before=before,
        optimizers=optimizers,
        step=step,
        figures=("loss", "pull", "train_corr"),
        rate=lambda budget: budget.cosine_rate(warm_up=200),
        save=lambda at: save_checkpoint(checkpoint, _state(model, ema, optimizers), {"step": at}),
        report_every=200,
        save_every=5000,
        more=lambda: {"corr": judge(model, ema)},
    )
    train(stage, run)
    if run.world.rank == 0:
        save_depth_net(run.out / NAME, model, processor, ema)
    return run.out / NAME


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


def evaluate_depth(
    folder: Path, *, scenes: int = 48, not_telling: int = 48, device: str = "cpu"
) -> dict[str, float]:
    """How well the net in `folder` sees held-out scenes at the served size, by the served path.

    correlation: mean Pearson's r with true inverse depth; worst_tenth: its 10th percentile; people and
    clutter: its mean for scenes with a person and without; not_telling: its mean over so many scenes with
    all those that show one bare surface, see `sample_surfaces`; left out where that is of none.
    """
    from streaming.depth.estimators import TransformersDepth

    estimator = TransformersDepth(str(folder), device, torch.float32)

    def judged(scenes: int, *, telling: bool) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        found, kinds = [], []
        for begun in range(0, scenes, 12):
            surface, drawn = sample_surfaces(min(12, scenes - begun), generator, telling=telling)
            pictures, disparity = photographs(surface, drawn, generator, shrink=1)
            found.append(correlation(estimator.estimate(pictures.to(device)).cpu(), disparity))
            kinds.append(drawn.kind)
        return torch.cat(found), torch.cat(kinds)

    r, kind = judged(scenes, telling=True)
    figures = {
        "correlation": r.mean().item(),
        "worst_tenth": r.quantile(0.1).item(),
        "people": r[kind == 0].mean().item(),
        "clutter": r[kind == 1].mean().item(),
    }
    if not_telling:
        figures["not_telling"] = judged(not_telling, telling=False)[0].mean().item()
    return figures


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


def _state(model: nn.Module, ema: Ema, optimizers: Optimizers) -> dict[str, Tensor]:
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    return tensors | {f"ema.{name}": value for name, value in ema.average.items()} | optimizers.state()


def _restore(
    tensors: dict[str, Tensor], meta: dict[str, Any], model: nn.Module, ema: Ema, optimizers: Optimizers
) -> int:
    """Take all up again, moments if there are any; returns the step to go on from."""
    # `transformers` renames its modules from one release to another, and the sizes here have changed, too.
    if strange := [
        n for n, p in model.named_parameters() if getattr(tensors.get(f"model.{n}"), "shape", None) != p.shape
    ]:
        raise ValueError(
            f"depth-checkpoint: expected {strange[0]} and {len(strange) - 1} more as this net has them"
        )
    ema.restore(model, tensors)
    optimizers.load(tensors)
    return int(meta["step"])
