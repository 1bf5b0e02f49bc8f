"""Gray control: the camera's brightness, rounded to the 256 levels that a model was trained on."""

import torch
from torch import Tensor

from streaming.frames import from_uint8

Luma = tuple[int, int, int]  # weights of red, green and blue in 2**15ths, as OpenCV has them

_BITS = 15
LUMA: Luma = (9798, 19235, 3735)  # 0.299, 0.587, 0.114: ITU-R BT.601
# VACE's annotator takes RGB frames for BGR, so the published weights have seen red and blue exchanged.
ANNOTATED: Luma = (3735, 19235, 9798)


def gray_of(camera: Tensor, luma: Luma = ANNOTATED) -> Tensor:
    """camera (T, 3, H, W) RGB in [-1, 1] -> (T, H, W) float32 in [-1, 1], rounded as OpenCV's `cvtColor`."""
    levels = camera.float().add(1).mul_(127.5).round_().clamp_(0, 255)
    weights = levels.new_tensor(luma).view(1, 3, 1, 1)
    # Whole numbers below 2**24: exact in float32.
    total = (levels * weights).sum(1).add_(2 ** (_BITS - 1))
    return from_uint8(total.mul_(2.0**-_BITS).floor_().to(torch.uint8))
