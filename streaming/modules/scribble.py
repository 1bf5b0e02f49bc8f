"""Scribble network of VACE's annotators: a picture -> its contours. State-dict keys are those published."""

from torch import Tensor, nn

_BLOCKS = 3  # residual blocks
_WIDTHS = (64, 128, 256)


class ScribbleNetwork(nn.Module):
    """Published as `scribble/anime_style/netG_A_latest.pth`. Norms are by picture, and have no weights."""

    def __init__(self) -> None:
        super().__init__()
        first, middle, last = _WIDTHS
        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, first, 7), *_normed(first))
        self.model1 = nn.Sequential(*_halved(first, middle), *_halved(middle, last))
        self.model2 = nn.Sequential(*(_Residual(last) for _ in range(_BLOCKS)))
        self.model3 = nn.Sequential(*_doubled(last, middle), *_doubled(middle, first))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(first, 1, 7), nn.Sigmoid())

    @property
    def weight(self) -> Tensor:
        """One of the weights: they have one device and one type."""
        return next(self.parameters())

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1], H and W multiples of 4 -> (B, 1, H, W) in [0, 1], white = 1."""
        x = self.model2(self.model1(self.model0(pictures)))
        return self.model4(self.model3(x))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            *_normed(width),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def _normed(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU(inplace=True)


def _halved(width: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, out, 3, stride=2, padding=1), *_normed(out)


def _doubled(width: int, out: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(width, out, 3, stride=2, padding=1, output_padding=1), *_normed(out)
