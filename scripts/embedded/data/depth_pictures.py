"""Training data of the depth net: photographs of rendered scenes with their true inverse depth.

supply = Supply(24_000, 96, generator)
pictures, disparity = supply.draw(192)      # now and then: supply.renew()
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.embedded.scenes.box_blur import box_blur
from scripts.embedded.scenes.photo import photograph
from scripts.embedded.scenes.procedural import OBJECTS, Scenes, Surface, inverse_depth, render, sample_scenes
from streaming.frames import from_uint8, to_uint8

HEIGHT, WIDTH = 72, 128  # what the net sees: half of the served picture each way
_PHOTOGRAPHS = 3  # of each rendered scene: another light, other colours, another camera


def sample_surfaces(
    batch: int, generator: torch.Generator, *, telling: bool = True
) -> tuple[Surface, Scenes]:
    """New scenes at one random moment each, at twice the net's size: (B, 1, 144, 256).

    `telling`: only such that show more than one bare surface, and most things stand on a floor. Otherwise
    scenes as the generator learns from them, where a tenth show a wall alone, and half of the things hang
    in the air in a size that nobody knows: there is no telling how far away those are.
    """
    count = batch + batch // 2 if telling else batch  # a few too many, to choose from
    scenes = sample_scenes(count, generator, webcam=0.65, firm=telling)
    times = torch.rand(count, 1, generator=generator, device=generator.device) * 10
    if telling:
        # A stable sort, not a mask: a mask's length would have to come from the device.
        is_bare = largest_surface(render(scenes, times, height=HEIGHT // 4, width=WIDTH // 4)) > 0.9
        kept = is_bare.int().argsort(stable=True)[:batch]
        scenes, times = scenes[kept], times[kept]
    return render(scenes, times, height=2 * HEIGHT, width=2 * WIDTH), scenes


def largest_surface(surface: Surface) -> Tensor:
    """The share of each picture that the thing seen most takes up, a wall or the sky among them: (B,)."""
    number = surface.object.flatten(1) + 1  # -1 is nothing
    counts = torch.zeros(len(number), OBJECTS + 1, device=number.device)
    counts.scatter_add_(1, number, torch.ones_like(number, dtype=counts.dtype))
    return counts.amax(1) / number.shape[1]


def photographs(
    surface: Surface, scenes: Scenes, generator: torch.Generator, *, shrink: int = 2
) -> tuple[Tensor, Tensor]:
    """RGB (B, 3, h, w) in [-1, 1] and true inverse depth (B, h, w), `shrink` times smaller than `surface`."""
    pictures = photograph(surface, scenes, generator, shrink=shrink)[:, 0]
    # The nearest of the merged pixels: an average would be a depth where nothing is.
    return pictures, F.max_pool2d(inverse_depth(surface), shrink)[:, 0]


class Supply:
    """A pool of pictures with their inverse depth on the generator's device, renewed in turn."""

    def __init__(self, size: int, batch: int, generator: torch.Generator) -> None:
        self._batch, self._generator = batch, generator
        size = max(size - size % (batch * _PHOTOGRAPHS), batch * _PHOTOGRAPHS)
        device = generator.device
        self._pictures = torch.zeros(size, 3, HEIGHT, WIDTH, dtype=torch.uint8, device=device)
        self._disparity = torch.zeros(size, HEIGHT, WIDTH, dtype=torch.float16, device=device)
        self._made = 0
        while self._made < min(size, 8 * batch):
            self.renew()

    @property
    def is_full(self) -> bool:
        return self._made >= len(self._pictures)

    def renew(self) -> None:
        """A batch of new scenes, each photographed a few times, in place of the oldest pictures."""
        surface, scenes = sample_surfaces(self._batch, self._generator)
        for _ in range(_PHOTOGRAPHS):
            pictures, disparity = photographs(surface, scenes, self._generator)
            pictures = unfocused(pictures, disparity, self._generator)
            first = self._made % len(self._pictures)
            self._pictures[first : first + self._batch] = to_uint8(pictures)
            self._disparity[first : first + self._batch] = disparity
            self._made += self._batch

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """RGB (N, 3, h, w) in [-1, 1] and true inverse depth (N, h, w), no two draws of a picture alike."""
        filled = min(self._made, len(self._pictures))
        at = torch.randint(filled, (count,), generator=self._generator, device=self._generator.device)
        pictures = from_uint8(self._pictures[at])
        pictures, disparity = framed(pictures, self._disparity[at].float(), self._generator)
        return varied(pictures, disparity, self._generator)


def unfocused(pictures: Tensor, disparity: Tensor, generator: torch.Generator) -> Tensor:
    """A fifth of the pictures (B, 3, H, W) with all blurred that is nearer than some distance.

    `photograph` blurs what is far alone; who learns from that takes a van before the lens for the background.
    """
    batch, device = len(pictures), pictures.device

    def some(low: float, high: float) -> Tensor:
        drawn = torch.rand(batch, 1, 1, generator=generator, device=device)
        return low + (high - low) * drawn

    focus = disparity.mean((1, 2), keepdim=True) * some(0.6, 1.4)
    level = ((disparity - focus) / focus).clamp(0, 1) * some(0.5, 2.5) * (some(0, 1) < 0.2)
    small = box_blur(pictures, 1, times=2)
    level, large = level[:, None], box_blur(small, 2, times=2)
    near = pictures + (small - pictures) * level.clamp(0, 1)
    return near + (large - small) * (level - 1).clamp(0, 1)


def framed(
    pictures: Tensor, disparity: Tensor, generator: torch.Generator, *, share: float = 0.35
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) and their inverse depth (B, H, W), some of them cut out and a little tilted: what
    is near is at the bottom of a webcam's picture, and less so elsewhere."""
    (batch, _, height, width), device = pictures.shape, pictures.device

    def some(low: float, high: float) -> Tensor:
        drawn = torch.rand(batch, 1, 1, generator=generator, device=device)
        return low + (high - low) * drawn

    is_cut = (some(0, 1) < share).float()
    side = 1 - 0.35 * some(0, 1) * is_cut  # of the picture's, where 1 is all
    roll = some(-0.12, 0.12) * is_cut
    x = (torch.arange(width, device=device) + 0.5) * 2 / width - 1  # as `grid_sample` counts: -1 ... 1
    y = ((torch.arange(height, device=device) + 0.5) * 2 / height - 1)[:, None]
    shape = height / width
    # By hand: a matrix product would round places to the ten bits of TF32.
    across = side * (roll.cos() * x - roll.sin() * shape * y) + (1 - side) * some(-1, 1)
    down = side * (roll.sin() / shape * x + roll.cos() * y) + (1 - side) * some(-1, 1)
    grid = torch.stack([across, down], -1)
    # No depth lies between two surfaces: the nearest pixel's is taken.
    pictures = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    disparity = F.grid_sample(
        disparity[:, None], grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    return pictures, disparity[:, 0]


def varied(pictures: Tensor, disparity: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in [-1, 1] and their inverse depth (B, H, W): half of them mirrored, all a little
    brighter or darker, of another tint and contrast, and noisier."""
    batch, device = len(pictures), pictures.device

    def some(spread: float, *shape: int) -> Tensor:
        return spread * torch.randn(batch, *shape, generator=generator, device=device)

    is_mirrored = torch.rand(batch, 1, 1, generator=generator, device=device) < 0.5
    disparity = torch.where(is_mirrored, disparity.flip(-1), disparity)
    pictures = torch.where(is_mirrored[:, None], pictures.flip(-1), pictures)
    contrast = 1 + some(0.15, 1, 1, 1) + some(0.06, 3, 1, 1)
    noise = torch.randn(pictures.shape, generator=generator, device=device) * some(0.03, 1, 1, 1)
    return (pictures * contrast + some(0.1, 1, 1, 1) + noise).clamp(-1, 1), disparity
