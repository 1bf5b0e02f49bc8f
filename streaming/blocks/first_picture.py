"""A picture that a stream begins with, as VACE's first-frame extension: frame 0 is given, others follow."""

from torch import Tensor


def with_first_picture(picture: Tensor, mask: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """picture (3, H, W) in [-1, 1]; mask (1, 1, T, H, W), 1 = paint, and source (1, 3, T, H, W), what is kept
    elsewhere -> both with frame 0 given: mask 0 there, and the picture.

    The mask that VACE's branch sees is thinned to latents by nearest-exact sampling, as VACE does, and that
    takes frame 1 for latent 0: what tells the branch of the picture is the inactive video, not the mask.
    """
    given, kept = mask.clone(), source.clone()
    given[:, :, 0] = 0
    kept[:, :, 0] = picture
    return given, kept
