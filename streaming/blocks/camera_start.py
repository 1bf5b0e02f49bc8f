"""Camera latents as the start of a chunk's passes, and how much noise is laid over them."""

from dataclasses import dataclass

from torch import Tensor

from streaming.api import CameraStart, NoiseFormula
from streaming.blocks.denoise import Denoiser
from streaming.modules.scheduler import add_noise

_BASE, _PULL = 0.8, 0.2  # of the published control: a still picture's scale; what most motion takes off it
_MOST_MOTION = 0.2  # root mean square change of a frame, of pixels in [-1, 1], that counts as most
_FOLLOW = 0.9  # of the way to the newest chunk's scale


@dataclass(frozen=True, slots=True, eq=False)
class CameraLatents:
    """What one chunk starts from."""

    video: Tensor  # (1, 3, T, H, W) in [-1, 1], the frames that the chunk shows
    noise_scale: float  # 0 ... 1
    formula: NoiseFormula

    def begin(self, denoise: Denoiser, latents: Tensor, noise: Tensor) -> tuple[Denoiser, Tensor]:
        """The steps from this noise scale on, and `noise` over the camera's `latents` (1, F, C, h, w)."""
        noised = add_noise(latents, noise, self.noise_scale)
        return denoise.from_camera(self.noise_scale, self.formula), noised


@dataclass(frozen=True, slots=True, eq=False)
class MotionNoise:
    """The noise scale of a stream whose camera is watched: a value, which a failed chunk leaves alone.

    The published control (StreamDiffusionV2): n' = 0.9 (0.8 - 0.2 m) + 0.1 n, with n the scale of the chunk
    before, at first the one that was asked for, and m the largest change from frame to frame, 0 ... 1.
    """

    asked: CameraStart = CameraStart()
    scale: float = 1.0  # of the chunk before
    last: Tensor | None = None  # (3, H, W) the newest frame of the chunk before

    def follow(self, asked: CameraStart, camera: Tensor) -> "MotionNoise":
        """`camera` (T, 3, H, W) in [-1, 1]: the chunk that is about to be generated."""
        if not asked.follows_motion:
            return MotionNoise(asked, asked.noise_scale)
        before = asked.noise_scale if asked != self.asked else self.scale
        scale = _FOLLOW * (_BASE - _PULL * self._motion(camera)) + (1 - _FOLLOW) * before
        return MotionNoise(asked, scale, camera[-1].clone())

    def _motion(self, camera: Tensor) -> float:
        change = camera.diff(dim=0) if self.last is None else camera.diff(dim=0, prepend=self.last[None])
        largest = change.square().mean(dim=(1, 2, 3)).sqrt().max() / _MOST_MOTION
        return min(1.0, largest.item())
