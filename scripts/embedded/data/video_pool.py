"""Training data of the autoencoder: videos of looks, of controls and of the camera, kept on the device."""

import random

import torch
from torch import Tensor

from scripts.embedded.data.camera import camera_pictures, gray_of
from scripts.embedded.data.clips import degraded, depth_clips
from scripts.embedded.data.photographs import Photographs
from scripts.embedded.scenes.looks import BACKGROUNDS, COLOURED, COLOURS, LOOKS, Paint, paint

FRAMES = 17
CROP = 96  # pixels each way of what a step sees: many small steps teach more than few large ones
SILENT = 0.2  # share of controls that show depth alone
CHANGING = 0.15  # share of painted clips whose look changes


def random_paint(rng: random.Random) -> Paint:
    look = rng.choice(LOOKS)
    colour = rng.choice([None, *COLOURS]) if look in COLOURED else None
    return Paint(look, colour, rng.choice(BACKGROUNDS) if rng.random() < 0.3 else None)


class VideoPool:
    """Videos on the device in 8 bits, in three kinds: painted, of controls, of the camera."""

    def __init__(
        self,
        size: int,
        batch: int,
        height: int,
        width: int,
        seed: int,
        photographs: Photographs,
        device: torch.device,
    ) -> None:
        """`batch` videos are made at a time."""
        self._photographs = photographs
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
        quarter = max(1, batch // 4)
        return [batch - 2 * quarter, quarter, quarter]

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
        painted, seen, _ = self.shares(self._batch)
        height, width = self._size
        depth, surface, scenes = depth_clips(seen, FRAMES, self._generator, height=height, width=width)
        camera = camera_pictures(surface, scenes, self._generator, self._photographs)
        is_silent = torch.rand(seen, 1, 1, 1, generator=self._generator, device=depth.device) < SILENT
        gray = torch.where(is_silent, 0.5, gray_of(camera))
        rows: list[Tensor] = []
        while len(rows) * seen < painted:
            rows.append(paint(depth, [random_paint(self._rng) for _ in range(seen)], gray))
        control = torch.stack([degraded(depth, self._generator), gray, gray], 2) * 2 - 1
        return [self._changing(torch.cat(rows)[:painted], seen), control, camera]

    def _changing(self, video: Tensor, scenes: int) -> Tensor:
        """Some of the clips (N, T, 3, H, W), in turns of so many scenes, take on another one's look where a
        latent begins, as when a prompt changes: a decoder must not remember the old look then."""
        other = video.roll(scenes, 0)  # mostly of the same scene
        for n in range(len(video)):
            if self._rng.random() < CHANGING:
                first = 1 + 4 * self._rng.randrange(FRAMES // 4)
                video[n, first:] = other[n, first:]
        return video
