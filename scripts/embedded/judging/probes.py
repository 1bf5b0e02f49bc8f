"""Judges, independent, of the built-in model's frames: which look is it, and what depth can be read off it?

    train_probes(Path("tests/data/probes.safetensors"), device=torch.device("cuda"), minutes=1.25)
    probes = load_probes()
    names = probes.looks(frames)        # frames (N, 3, H, W) in [-1, 1]
    depth = probes.depth(frames)        # (N, H, W), 0 far ... 1 near

They learn from true pictures alone and never meet the model that they judge.

python -m scripts.embedded.judging.probes tests/data/probes.safetensors --minutes 1.25
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scripts.embedded.constants import constant
from scripts.embedded.data.camera import camera_pictures, gray_of
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.scenes.draws import HELD_OUT_SEED
from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint, paint
from scripts.embedded.scenes.procedural import inverse_depth, normalised_depth, render, sample_scenes
from scripts.embedded.scenes.shape import shape_of
from streaming.frames import from_uint8, to_uint8

PROBES = Path(__file__).resolve().parents[3] / "tests" / "data" / "probes.safetensors"
SILENT = 0.4  # share of its pictures without gray
NO_LABEL = -100  # what cross_entropy ignores: the colour of a picture whose prompt names none


class LookProbe(nn.Module):
    """(N, 3, H, W) in [-1, 1] -> logits of look (N, L), of colour (N, C), of background (N, 1 + B), its first
    being the look's own."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 40, 56, 72, 72)
        self.body = nn.Sequential(
            *(
                _conv(before, after, 5 if before == 3 else 3, stride=2)
                for before, after in zip(widths, widths[1:], strict=False)
            )
        )
        pooled = 2 * widths[-1]
        self.look = nn.Linear(pooled, len(LOOKS))
        self.colour = nn.Linear(pooled, len(COLOURS))
        self.background = nn.Linear(pooled, 1 + len(BACKGROUNDS))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.body(frames)
        # The mean says what there is a lot of, the maximum what there is at all: small foregrounds count.
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.look(x), self.colour(x), self.background(x)


class DepthProbe(nn.Module):
    """(N, 3, H, W) in [-1, 1] -> depth (N, H, W), about 0 far ... 1 near. Sides are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [_conv(3, 16, 5, 2), _conv(16, 32, 3, 2), _conv(32, 48, 3, 2), _conv(48, 56, 3, 2)]
        )
        self.middle = _conv(56, 56, 3, 1)
        self.up = nn.ModuleList(
            [_conv(56 + 48, 40, 3, 1), _conv(40 + 32, 24, 3, 1), _conv(24 + 16, 16, 3, 1)]
        )
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        kept: list[Tensor] = []
        x = frames
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        x = self.middle(x)
        for layer, beside in zip(self.up, reversed(kept[:-1]), strict=True):
            x = layer(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        x = F.interpolate(self.out(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return x[:, 0]


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.GroupNorm(4, after), nn.SiLU()
    )


@dataclass(frozen=True, slots=True)
class Probes:
    """Both judges on one device. Frames (N, 3, H, W) in [-1, 1], of any floating dtype and device."""

    look_net: LookProbe
    depth_net: DepthProbe
    figures: dict[str, float]  # on true pictures of held-out scenes, when it was trained

    def looks(self, frames: Tensor) -> list[str]:
        return self.names(frames)[0]

    def colours(self, frames: Tensor) -> list[str]:
        """Which of COLOURS; means something for COLOURED looks alone."""
        return self.names(frames)[1]

    def backgrounds(self, frames: Tensor) -> list[str | None]:
        return self.names(frames)[2]

    def names(self, frames: Tensor) -> tuple[list[str], list[str], list[str | None]]:
        """Looks, colours and backgrounds, in one pass of the net."""
        look, colour, background = (numbers.tolist() for numbers in self._classes(frames))
        colours, behind = list(COLOURS), (None, *BACKGROUNDS)
        return [LOOKS[n] for n in look], [colours[n] for n in colour], [behind[n] for n in background]

    @torch.no_grad()
    def depth(self, frames: Tensor) -> Tensor:
        """(N, H, W) float32 on the probes' device."""
        return torch.cat([self.depth_net(part) for part in self._parts(frames)])

    @torch.no_grad()
    def _classes(self, frames: Tensor) -> list[Tensor]:
        heads = [[head.argmax(1) for head in self.look_net(part)] for part in self._parts(frames)]
        return [torch.cat(of_one_head) for of_one_head in zip(*heads, strict=True)]

    def _parts(self, frames: Tensor) -> list[Tensor]:
        weight = self.depth_net.out.weight
        return [part.to(weight) for part in frames.split(64)]


def load_probes(path: Path = PROBES, device: torch.device | None = None) -> Probes:
    """Raises ValueError if the looks have changed since the probes were trained, OSError without a file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no probes; train them with python -m scripts.embedded.judging.probes {path}"
        )
    look_net, depth_net = LookProbe(), DepthProbe()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    for name, known in _classes().items():
        if metadata[name] != known:
            raise ValueError(
                f"{path}: trained for {name} {metadata[name]}, now there are {known}; train again"
            )
    for prefix, net in (("look.", look_net), ("depth.", depth_net)):
        net.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        net.to(device or torch.device("cpu")).eval().requires_grad_(False)
    return Probes(look_net, depth_net, json.loads(metadata["figures"]))


def train_probes(
    out: Path,
    *,
    device: torch.device,
    minutes: float = 1.25,
    steps: int | None = None,
    seed: int = 77,
    frames_per_look: int = 4,
    scenes: int = 64,
    pictures: int = 12_000,
    batch: int = 192,
    size: tuple[int, int] = (144, 256),
) -> dict[str, float]:
    """Train both probes on true pictures for `minutes`, or for exactly `steps`; write fp16 weights to `out`.

    `seed` 0 ... 999999; `scenes` are rendered at a time, `pictures` are kept at once, a step sees `batch` of
    them; `size` is height and width. Returns the figures on
    held-out scenes: accuracies, and the mean correlation of the depth read off.
    """
    if not 0 <= seed < 1_000_000:
        raise ValueError(f"seed must be 0 ... 999999 to keep off held-out scenes, got {seed}")
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    look_net, depth_net = LookProbe().to(device), DepthProbe().to(device)
    weights = [*look_net.parameters(), *depth_net.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.01, fused=device.type == "cuda")
    gallery = _Gallery(pictures, scenes, frames_per_look, generator, size)
    began, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        if step % 4 == 0:
            gallery.renew()
        frames, depth, labels = gallery.draw(batch)
        warm_up = min(1.0, (step + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * warm_up * (1 - done)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            seen = _worn(frames, generator).contiguous(memory_format=torch.channels_last)
            look, colour, background = look_net(seen)
            read = depth_net(seen)
        loss = sum(
            F.cross_entropy(logits.float(), target, label_smoothing=0.02)
            for logits, target in zip((look, colour, background), labels.unbind(1), strict=True)
        )
        loss = loss + 4 * F.smooth_l1_loss(read.float(), depth, beta=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        done = step / steps if steps else (time.monotonic() - began) / (60 * minutes)
        if step % 100 == 0:
            print(f"step {step} ({100 * done:.0f} %): loss {float(loss):.3f}", flush=True)
    look_net.eval()
    depth_net.eval()
    probes = Probes(look_net.requires_grad_(False), depth_net.requires_grad_(False), {})
    figures = judge_truth(probes, device=device, size=size, scenes=min(scenes, 16)) | {"steps": float(step)}
    tensors = {f"look.{name}": value for name, value in look_net.state_dict().items()}
    tensors |= {f"depth.{name}": value for name, value in depth_net.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.half().cpu().contiguous() for name, value in tensors.items()},
        out,
        metadata=_classes() | {"figures": json.dumps(figures)},
    )
    return figures


@torch.no_grad()
def judge_truth(
    probes: Probes,
    *,
    device: torch.device,
    scenes: int = 16,
    moments: int = 4,
    size: tuple[int, int] = (144, 256),
) -> dict[str, float]:
    """How well the probes read true pictures of held-out scenes, some moments of each: each plain look, then
    each coloured look in each colour with backgrounds in turn."""
    generator = torch.Generator(device).manual_seed(HELD_OUT_SEED)
    depth, gray = _true_maps(scenes, generator, size, moments).unbind(1)  # (N, H, W)
    gray[::2] = 0.5  # half of them without
    has_some = has_subject(depth).tolist()
    right: dict[str, list[float]] = {"look": [], "colour": [], "background": [], "depth": []}
    plain = [Paint(look) for look in LOOKS]
    behind = (None, *BACKGROUNDS)
    coloured = [
        Paint(look, colour, behind[(n + m) % len(behind)])
        for n, look in enumerate(COLOURED)
        for m, colour in enumerate(COLOURS)
    ]
    mixed = [Paint(look, None, name) for look, name in zip(LOOKS, BACKGROUNDS * 9, strict=False)]
    worst: dict[str, float] = {}
    for kind in (*plain, *coloured, *mixed):
        frames = paint(depth[:, None], [kind] * len(depth), gray[:, None])[:, 0]
        # Before a background of another kind a look can be told only where there is something of it.
        telling = has_some if kind.background else [True] * len(depth)
        looks, colours, backgrounds = probes.names(frames)
        hits = [name == kind.look for name, tells in zip(looks, telling, strict=True) if tells]
        right["look"] += hits
        if kind in plain:
            worst[kind.look] = sum(hits) / len(hits)
        if kind.colour is not None:
            right["colour"] += [
                name == kind.colour for name, tells in zip(colours, telling, strict=True) if tells
            ]
        right["background"] += [name == kind.background for name in backgrounds]
        read, true = probes.depth(frames).flatten(1), depth.flatten(1)
        pair = [value - value.mean(1, keepdim=True) for value in (read, true)]
        right["depth"] += F.cosine_similarity(*pair, dim=1).tolist()
    figures = {name: sum(values) / len(values) for name, values in right.items()}
    name = min(worst, key=lambda look: worst[look])
    print(f"truth: {figures}; worst plain look: {name} {worst[name]:.3f}", flush=True)
    return figures | {"worst_plain_look": worst[name]}


def _true_maps(scenes: int, generator: torch.Generator, size: tuple[int, int], moments: int = 4) -> Tensor:
    """(moments x scenes, 2, H, W): depth, near = 1, normalised by clip, and gray, in [0, 1]: moments of each
    of some new scenes."""
    device = generator.device
    start = torch.rand(scenes, 1, generator=generator, device=device) * 10
    times = start + torch.arange(moments, device=device) * 0.7
    drawn = sample_scenes(scenes, generator)
    surface = render(drawn, times, height=size[0], width=size[1])
    gray = gray_of(camera_pictures(surface, drawn, generator, Photographs.none(device)))
    return torch.stack([normalised_depth(inverse_depth(surface)), gray], 2).flatten(0, 1)


def has_subject(depth: Tensor) -> Tensor:
    """Whether depth (..., H, W), 0 far ... 1 near, shows anything in front of a background: (...). A picture
    all background says nothing of its look."""
    return shape_of(depth.flatten(0, -3)[:, None]).near.mean((1, 2, 3)).unflatten(0, depth.shape[:-2]) > 0.04


class _Gallery:
    """Painted pictures on the device in 8 bits with what they show, renewed in turn."""

    def __init__(
        self, size: int, scenes: int, frames: int, generator: torch.Generator, picture: tuple[int, int]
    ) -> None:
        self._generator, self._picture = generator, picture
        self._scenes, self._frames = scenes, frames
        device = generator.device
        self._rng = random.Random(generator.initial_seed())
        count = len(_draw_paints(self._rng)) * frames
        size = max(count, size - size % count)
        self._pictures = torch.zeros(size, 3, *picture, dtype=torch.uint8, device=device)
        self._depth = torch.zeros(size, *picture, dtype=torch.float16, device=device)
        self._labels = torch.zeros(size, 3, dtype=torch.int64, device=device)
        self._made = self._turn = 0
        self._maps = _true_maps(scenes, generator, picture)
        for _ in range(min(8, size // count)):
            self.renew()

    def renew(self) -> None:
        """A picture or some of every look in place of the oldest; of other scenes every second time."""
        if self._turn % 2 == 1:
            fresh = _true_maps(self._scenes, self._generator, self._picture)
            if len(self._maps) < 32 * len(fresh):
                self._maps = torch.cat([self._maps, fresh])
            else:
                place = self._turn // 2 % 32 * len(fresh)
                self._maps[place : place + len(fresh)] = fresh
        self._turn += 1
        paints = _draw_paints(self._rng)
        chosen = torch.randint(
            len(self._maps),
            (len(paints), self._frames),
            generator=self._generator,
            device=self._generator.device,
        )
        depth, gray = self._maps[chosen].unbind(2)
        depth = _softened(depth, self._generator)
        draw = torch.rand(len(gray), 1, 1, 1, generator=self._generator, device=self._generator.device)
        gray = torch.where(draw < SILENT, 0.5, gray)
        labels = torch.stack(_targets(paints, self._frames, depth.device), 1)
        is_hidden = (labels[:, 2] != 0) & ~has_subject(depth).flatten()
        labels[:, :2] = torch.where(is_hidden[:, None], NO_LABEL, labels[:, :2])
        frames = paint(depth, paints, gray).flatten(0, 1)
        at = slice(first := self._made % len(self._pictures), first + len(frames))
        self._pictures[at] = to_uint8(frames)
        self._depth[at], self._labels[at] = depth.flatten(0, 1), labels
        self._made += len(frames)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1], depth (N, H, W), class numbers (N, 3) of the three heads."""
        filled = min(self._made, len(self._pictures))
        at = torch.randint(filled, (count,), generator=self._generator, device=self._generator.device)
        return from_uint8(self._pictures[at]), self._depth[at].float(), self._labels[at]


def _draw_paints(rng: random.Random) -> list[Paint]:
    """Every look once, by itself or before some background; then coloured looks, most of all clay and
    plastic: in one colour they differ by a highlight, and nine of ten errors took one for the other."""

    def background(share: float) -> str | None:
        return rng.choice(BACKGROUNDS) if rng.random() < share else None

    paints = [Paint(look, None, background(0.35)) for look in LOOKS]
    for look in COLOURED * 2:
        paints.append(Paint(look, rng.choice(list(COLOURS)), background(0.6)))
    for _ in range(5):  # the same colour before the same background
        colour, behind = rng.choice(list(COLOURS)), background(0.7)
        paints += [Paint("clay", colour, behind), Paint("plastic", colour, behind)]
    return paints


def _targets(paints: list[Paint], frames: int, device: torch.device) -> list[Tensor]:
    """Class numbers (N x frames,) for the three heads."""
    behind = (None, *BACKGROUNDS)
    looks = [LOOKS.index(kind.look) for kind in paints]
    colours = [NO_LABEL if kind.colour is None else list(COLOURS).index(kind.colour) for kind in paints]
    backgrounds = [behind.index(kind.background) for kind in paints]
    return [
        torch.tensor(labels).to(device, non_blocking=True).repeat_interleave(frames)
        for labels in (looks, colours, backgrounds)
    ]


def _blurred(x: Tensor) -> Tensor:
    """(N, H, W) by a binomial kernel of 5 pixels."""
    kernel = constant((1.0, 4.0, 6.0, 4.0, 1.0), x.device).to(x.dtype) / 16
    padded = F.pad(x[:, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))[:, 0]


def _softened(depth: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the depth maps (N, T, H, W) with outlines as soft as an estimator's."""
    soft = _blurred(_blurred(depth.flatten(0, 1))).unflatten(0, depth.shape[:2])
    chosen = torch.rand(*depth.shape[:2], 1, 1, generator=generator, device=depth.device) < 0.33
    return torch.where(chosen, soft, depth)


def _worn(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (N, 3, H, W) in [-1, 1] with some blur, noise and shift of colours, each picture its own: a
    probe must not take fright at a generated picture's small faults."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(len(frames), *shape, generator=generator, device=frames.device)
        return drawn * (high - low) + low

    # Under autocast the blur comes back in half precision.
    soft = _blurred(frames.flatten(0, 1)).to(frames.dtype).unflatten(0, frames.shape[:2])
    worn = torch.lerp(frames, soft, (uniform(-1.0, 1.0, 1, 1, 1)).clamp(min=0))
    worn = worn * uniform(0.88, 1.1, 3, 1, 1) + uniform(-0.06, 0.06, 3, 1, 1)
    noise = torch.randn(frames.shape, generator=generator, device=frames.device)
    return (worn + noise * uniform(-0.06, 0.08, 1, 1, 1).clamp(min=0)).clamp(-1, 1)


def _classes() -> dict[str, str]:
    return {"looks": ",".join(LOOKS), "colours": ",".join(COLOURS), "backgrounds": ",".join(BACKGROUNDS)}


def main(
    out: Annotated[Path, typer.Argument(help="File to write.")] = PROBES,
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 1.25,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    seed: Annotated[int, typer.Option(help="Of scenes and weights.")] = 77,
) -> None:
    """Train the judges of the built-in model."""
    figures = train_probes(out, device=torch.device(device), minutes=minutes, seed=seed)
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
