"""Depth of the camera's frames: estimators behind one interface."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from streaming.depth.pillow_resize import RESAMPLING, pillow_resize
from streaming.depth.range import DepthRange
from streaming.frames import LUMA_WEIGHTS, channels, to_uint8


class DepthEstimator(Protocol):
    """Relative inverse depth of the frames of one chunk; holds weights, and nothing of any stream.

    depth_range = estimator.new_range()           # once per stream
    for frames in chunks:
        control, depth_range = depth_range.normalise(estimator.estimate(frames))
    """

    def estimate(self, frames: Tensor) -> Tensor:
        """RGB (T, 3, H, W) float32 in [-1, 1] -> (T, H, W) float32 on the same device, larger = nearer.

        Scale and offset are the estimator's own. Raises ValueError on another shape.
        """
        ...

    def new_range(self) -> DepthRange:
        """The range that a stream starts with."""
        ...


def load_depth(name: str, device: torch.device | str, dtype: torch.dtype) -> DepthEstimator:
    """The estimator called `name`: "edges", or hub id or folder of a `transformers` depth-estimation model.

    A model takes seconds to load. Raises OSError (not found, no network) or ValueError (not a depth model),
    with what to do about it.
    """
    if name == "edges":
        return EdgesDepth(device)
    return TransformersDepth(name, device, dtype)


class EdgesDepth:
    """Not depth at all: flat areas near, edges far. A stand-in without weights, shaped by the picture.

    After the usual recipe (grey, blur, Canny between 50 and 150, invert, blur), but soft where Canny is hard,
    so that noise cannot flicker between two values, and at half the size, which the final blur makes up for.
    """

    _LOW, _HIGH = (
        50.0,
        150.0,
    )  # gradient (Sobel, both axes summed, grey levels) that begins and that is a full edge

    def __init__(self, device: torch.device | str) -> None:
        luma = torch.tensor(LUMA_WEIGHTS) * 127.5  # [-1, 1] to grey levels; gradients need no offset
        self._to_grey = (luma / 4).view(1, 3, 1, 1).repeat(1, 1, 2, 2).to(device)
        blur = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        # A blur of [1 2 1] / 4 and Sobel's [1 2 1] across and [-1 0 1] along, in one kernel for each axis.
        across, along = blur * 4, torch.tensor([-1.0, -2.0, 0.0, 2.0, 1.0]) / 4
        self._gradient_x = across.outer(along).to(device)
        self._gradient_y = along.outer(across).to(device)
        self._blur = blur.outer(blur).to(device)

    def new_range(self) -> DepthRange:
        """[0, 1], fixed: percentiles of a map that is mostly flat would turn on a handful of edges."""
        return DepthRange(0.0, 1.0, is_fixed=True)

    @torch.no_grad()
    def estimate(self, frames: Tensor) -> Tensor:
        """See `DepthEstimator`; values in [0, 1]."""
        _check_frames(frames)
        grey = F.conv2d(frames, self._to_grey, stride=2).transpose(
            0, 1
        )  # (1, T, H/2, W/2): frames as channels
        gradient = _convolve(grey, self._gradient_x).abs() + _convolve(grey, self._gradient_y).abs()
        edges = ((gradient - self._LOW) / (self._HIGH - self._LOW)).clamp(0, 1)
        depth = _convolve(1 - edges, self._blur)
        return F.interpolate(depth, size=frames.shape[2:], mode="bilinear", align_corners=False)[0]


class TransformersDepth:
    """Any model of `transformers`' depth-estimation pipeline (Depth-Anything, DPT, ...), one batch per chunk.

    Relative models are used as they are; those that estimate metres are inverted, so that larger is nearer
    always.
    """

    def __init__(self, model: str, device: torch.device | str, dtype: torch.dtype) -> None:
        pipeline = _load_pipeline(model, device, dtype)
        # 12 frames of the built-in net take one core 114 ms this way, 134 with channels first.
        self._model = pipeline.model.to(memory_format=torch.channels_last)
        _keep_positions(self._model)
        self._processor = pipeline.image_processor
        self._preprocess = DptPreprocess.of(self._processor)
        self._dtype = dtype
        self._is_metric = _is_metric(pipeline.model.config, model)

    def new_range(self) -> DepthRange:
        """Unknown: the first chunk sets it, the scene moves it."""
        return DepthRange()

    @torch.no_grad()
    def estimate(self, frames: Tensor) -> Tensor:
        """See `DepthEstimator`."""
        _check_frames(frames)
        pictures = to_uint8(frames)
        if self._preprocess is None:
            depth = self._estimate_with_processor(pictures)
        else:
            depth = self._model(pixel_values=self._preprocess(pictures).to(self._dtype)).predicted_depth
            size = frames.shape[2:]
            depth = F.interpolate(depth[:, None].float(), size=size, mode="bilinear", align_corners=False)[
                :, 0
            ]
        # A millimetre bounds what a metric model may call near; the range ignores the few pixels there.
        return depth.clamp(min=1e-3).reciprocal() if self._is_metric else depth

    def _estimate_with_processor(self, pictures: Tensor) -> Tensor:
        """The pipeline's own way, through the host: right for every processor, and slow."""
        images = list(pictures.permute(0, 2, 3, 1).cpu().numpy())
        inputs = self._processor(images=images, return_tensors="pt").to(pictures.device, self._dtype)
        sizes = [tuple(pictures.shape[2:])] * len(images)
        # By position: most processors call it target_sizes, ZoeDepth's source_sizes.
        results = self._processor.post_process_depth_estimation(self._model(**inputs), sizes)
        return torch.stack([result["predicted_depth"].float() for result in results])


@dataclass(frozen=True, slots=True, kw_only=True)
class DptPreprocess:
    """What `DPTImageProcessor` (Depth-Anything's and DPT's) does to a picture, on the picture's device."""

    height: int
    width: int
    keep_aspect_ratio: bool
    multiple: int
    resample: Image.Resampling
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, processor: Any) -> "DptPreprocess | None":
        """The settings of a loaded processor; None if it does what this class does not."""
        if not type(processor).__name__.startswith("DPTImageProcessor"):
            return None
        does_more = (processor.do_pad and processor.size_divisor) or getattr(
            processor, "do_center_crop", False
        )
        does_all = processor.do_resize and processor.do_rescale and processor.do_normalize
        if does_more or not does_all or processor.resample not in RESAMPLING:
            return None
        return cls(
            height=processor.size["height"],
            width=processor.size["width"],
            keep_aspect_ratio=processor.keep_aspect_ratio,
            multiple=processor.ensure_multiple_of,
            resample=Image.Resampling(processor.resample),
            scale=processor.rescale_factor,
            mean=tuple(processor.image_mean),
            std=tuple(processor.image_std),
        )

    def __call__(self, pictures: Tensor) -> Tensor:
        """(T, 3, H, W) uint8 -> (T, 3, h, w) float32, h and w as in `size_of`."""
        resized = pillow_resize(pictures, *self.size_of(*pictures.shape[2:]), self.resample)
        mean, std = (channels(values, pictures.device) for values in (self.mean, self.std))
        return resized.float().mul_(self.scale).sub_(mean).div_(std)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the network sees: multiples of `multiple`, scaled as little as possible."""
        scale_height, scale_width = self.height / height, self.width / width
        if self.keep_aspect_ratio:
            scale_height = scale_width = min(scale_height, scale_width, key=lambda scale: abs(1 - scale))
        return (
            round(scale_height * height / self.multiple) * self.multiple,
            round(scale_width * width / self.multiple) * self.multiple,
        )


_EXPECTED_MODEL = (
    "Expected 'edges', the hub id of a depth-estimation model (cached, or network access), "
    "or a folder that holds one."
)


def _load_pipeline(model: str, device: torch.device | str, dtype: torch.dtype) -> Any:
    # Here and not at the top: it takes seconds, and nobody needs it without such a model.
    import transformers

    transformers.utils.logging.disable_progress_bar()  # a bar over files that lie here already helps nobody
    try:
        config = transformers.AutoConfig.from_pretrained(model)
    except OSError as error:
        raise OSError(f"depth model {model!r}: not found. {_EXPECTED_MODEL} {error}") from error
    except ValueError as error:
        raise ValueError(f"depth model {model!r}: of an unknown kind. {_EXPECTED_MODEL} {error}") from error
    if type(config) not in transformers.MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
        raise ValueError(f"depth model {model!r}: is a {config.model_type!r} model. {_EXPECTED_MODEL}")
    try:
        network = transformers.AutoModelForDepthEstimation.from_pretrained(model, dtype=dtype)
        processor = transformers.AutoImageProcessor.from_pretrained(model)
    except (OSError, SafetensorError) as error:
        raise OSError(f"depth model {model!r}: incomplete or broken. {error}") from error
    return transformers.pipeline("depth-estimation", model=network, image_processor=processor, device=device)


def _keep_positions(network: Any) -> None:
    """Dinov2 stretches its table of positions to the picture's size anew in every call (2.3 of 23 ms for 12
    frames on an H100): keep the last one."""
    for module in network.modules():
        if (stretch := getattr(module, "interpolate_pos_encoding", None)) is not None:
            module.interpolate_pos_encoding = _Kept(stretch)


class _Kept:
    """A function of a tensor's shape and of numbers, with its last result."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._last: tuple[object, Tensor] | None = None

    def __call__(self, embeddings: Tensor, *sizes: int) -> Tensor:
        key = embeddings.shape[1:], embeddings.dtype, sizes
        if self._last is None or self._last[0] != key:
            self._last = key, self._function(embeddings, *sizes)
        return self._last[1]


def _is_metric(config: Any, name: str) -> bool:
    """Whether the estimate is a distance (larger = farther) instead of inverse depth."""
    match config.model_type:
        case "dpt":
            # Its configuration does not say: DINOv2's heads were trained on metres, and so was whatever is
            # named after the sets of pictures that have them.
            backbone = getattr(config.backbone_config, "model_type", None)
            words = re.split(r"[-_.]", Path(name).name.lower())
            return backbone == "dinov2" or not {"nyu", "nyuv2", "kitti", "metric"}.isdisjoint(words)
        case "depth_anything":
            return config.depth_estimation_type == "metric"
        case _:  # ZoeDepth, GLPN, Depth Pro and the like, after their own post-processing
            return True


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 4 or frames.shape[1] != 3 or min(frames.shape) < 1 or min(frames.shape[2:]) < 2:
        raise ValueError(f"frames: expected (T, 3, H, W) of at least 2x2 pixels, got {tuple(frames.shape)}")


def _convolve(pictures: Tensor, kernel: Tensor) -> Tensor:
    """(1, T, H, W) with a kernel (5, 5), borders continued, -> (1, T, H, W)."""
    num_frames = pictures.shape[1]
    # One kernel per channel and call: the depthwise case, which is ten times as fast as the general one on a
    # CPU.
    kernels = kernel.expand(num_frames, 1, 5, 5)
    return F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), kernels, groups=num_frames)
