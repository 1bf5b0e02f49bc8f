"""Control of the VACE branch: depth, masked video and reference pictures -> control latents.

What every channel of a control latent means, with Wan's autoencoder (96 channels): 16 of the *inactive* video
(what to keep), 16 of the *reactive* video (what to repaint, here: depth), 64 of the mask (one per pixel of an
8x8 patch; 1 = repaint). Where a video has nothing to show it is 0, mid-grey. Source: VACE (ali-vilab).

Both videos are streams with an encoder cache of their own, so that control frame k describes output frame k.
Several control videos (depth, gray, lines) have a reactive video each; what is kept is the same for all.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from streaming.api import DEFAULT_SCALE
from streaming.blocks.control_encoders import ControlEncoders, ControlEncoderState, StreamAutoencoder
from streaming.blocks.reference_images import (
    MAX_REFERENCES,
    ReferenceImage,
    check_references,
    fit_reference,
    load_reference,
    reference_key,
)
from streaming.config import CHUNK_LATENTS, ConfigError
from streaming.controls.control_videos import SEPARATE, ControlVideo, Layout, depth_alone

GuidanceMode = Literal["depth", "r2v", "depth+r2v"]

REFERENCE_SETS_KEPT = 4


@dataclass(frozen=True, slots=True)
class ControlState:
    """What a stream's control remembers between chunks: a value, owned by the session."""

    chunk: int = 0  # index of the next chunk since the last hard reset
    inactive: ControlEncoderState = ControlEncoderState()
    reactive: tuple[ControlEncoderState, ...] = ()  # by control video; those not there yet were empty


@dataclass(frozen=True, slots=True)
class Control:
    """What guides one chunk: `frames` (N, F, vace_in_dim, h, w), one for each latent that is generated, of
    each control video that is shown, the strength of its hints in `scales`; and `references` (1, R,
    vace_in_dim, h, w) beside each of them.

    References are latents of their own, to be put in front of the chunk as VACE was trained; they never take
    the place of a frame. Unchanged pictures give the same tensor object again, so `is` tells new ones.
    """

    frames: Tensor
    scales: tuple[float, ...]
    references: Tensor | None


def split_by_mask(video: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """video (B, T, 3, H, W), mask (B, T, 1, H, W), 1 = repaint -> (inactive, reactive), mid-grey
    elsewhere."""
    repaint = (mask > 0.5).to(video.dtype)
    return video * (1 - repaint), video * repaint


def mask_latents(mask: Tensor, *, time_stride: int, space_stride: int) -> Tensor:
    """mask (B, T, 1, H, W) -> (B, F, space_stride**2, h, w): each patch's pixels row by row as channels.

    Values are kept as they are, not rounded to 0 and 1. Time is thinned to F = ceil(T / time_stride) by
    nearest-exact sampling, on each call alone, as VACE does with a clip.
    """
    frames, s = mask.shape[1], space_stride
    patches = mask[:, :, 0].unflatten(3, (-1, s)).unflatten(2, (-1, s))  # (B, T, h, s, w, s)
    channels = patches.permute(0, 3, 5, 1, 2, 4).flatten(1, 2)  # (B, s * s, T, h, w)
    size = ((frames + time_stride - 1) // time_stride, *channels.shape[3:])
    return F.interpolate(channels, size=size, mode="nearest-exact").transpose(1, 2)


def reference_control(latents: Tensor, vace_in_dim: int) -> Tensor:
    """Latents of reference pictures (B, R, C, h, w) -> control: kept (mask 0), with nothing reactive."""
    return F.pad(latents, (0, 0, 0, 0, 0, vace_in_dim - latents.shape[2]))


class VaceEncodingBlock:
    """Encodes what guides a chunk. Shared by all sessions: what a stream remembers is in its ControlState.

    state = ControlState()
    control, state = block("depth", state, vace_input=depth)           # 12 frames a chunk
    """

    def __init__(
        self,
        autoencoder: StreamAutoencoder,
        *,
        height: int,
        width: int,
        num_frame_per_block: int = CHUNK_LATENTS,
        vace_in_dim: int = 96,
        control_videos: Layout = SEPARATE,
    ) -> None:
        """`height`, `width`: the model's picture size. `vace_in_dim`: what the branch's patch embedding
        takes. `control_videos`: what their channels show, for depth that is given without the others.

        96 goes with pretrained weights, 16 with a branch trained on depth latents alone (no masks then).
        Raises ConfigError for sizes that do not go together.
        """
        sizes = autoencoder.config
        bare, full = sizes.latent_channels, 2 * sizes.latent_channels + sizes.space_stride**2
        if vace_in_dim not in (bare, full):
            raise ConfigError(
                f"vace_in_dim must be {full} (inactive, reactive and mask channels: pretrained weights) "
                f"or {bare} (depth latents alone, without pretrained vace_patch_embedding), got {vace_in_dim}"
            )
        if height % sizes.space_stride or width % sizes.space_stride:
            raise ConfigError(
                f"height and width must be multiples of {sizes.space_stride}, got {height}x{width}"
            )
        self.autoencoder = autoencoder
        self.height, self.width = height, width
        self.vace_in_dim = vace_in_dim
        self._layout = control_videos
        self.num_frame_per_block = num_frame_per_block
        self.vae_temporal_downsample_factor = sizes.time_stride
        self.frames_per_chunk = num_frame_per_block * sizes.time_stride
        self.frames_of_first_chunk = self.frames_per_chunk - sizes.time_stride + 1
        self._has_masks = vace_in_dim == full
        self._encoders = ControlEncoders(
            autoencoder,
            height=height,
            width=width,
            first=self.frames_of_first_chunk,
            later=self.frames_per_chunk,
        )
        self._references: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __call__(
        self,
        guidance_mode: GuidanceMode | None,
        state: ControlState | None,
        *,
        vace_input: Tensor | Sequence[ControlVideo | None] | None = None,
        vace_input_masks: Tensor | None = None,
        vace_source: Tensor | None = None,
        ref_images: Sequence[ReferenceImage] | Tensor | None = None,
        vace_context_scale: float = DEFAULT_SCALE,
    ) -> tuple[Control | None, ControlState]:
        """Control of the next chunk and the stream's new state; `state` None begins a stream.

        "depth" takes `vace_input` (and `vace_input_masks`, and the `vace_source` that they keep: see
        `encode_depth`), "r2v" takes `ref_images`, pictures or what `encode_references` gave for them,
        "depth+r2v" both; without a mode the chunk is unguided (None) and time goes on. `vace_input` is depth,
        whose scale is `vace_context_scale`, as is that of references alone; or the control videos of
        `encode_videos`. Raises ValueError for input that does not fit its mode.
        """
        if guidance_mode is not None and guidance_mode not in get_args(GuidanceMode):
            modes = ", ".join(get_args(GuidanceMode))
            raise ValueError(f"guidance_mode must be {modes} or None, got {guidance_mode!r}")
        parts = guidance_mode.split("+") if guidance_mode else []
        for name, given, part in (("vace_input", vace_input, "depth"), ("ref_images", ref_images, "r2v")):
            if (given is not None) != (part in parts):
                verb = "needs" if part in parts else "takes no"
                raise ValueError(f"guidance_mode {guidance_mode!r} {verb} {name}")
        if vace_input_masks is not None and vace_input is None:
            raise ValueError("vace_input_masks needs the vace_input that it masks")
        if vace_source is not None and vace_input_masks is None:
            raise ValueError("vace_source needs vace_input_masks that say where to keep it")
        references = None if ref_images is None else self._ready_references(ref_images)
        scales = (vace_context_scale,)
        if isinstance(vace_input, Tensor):
            frames, state = self.encode_depth(vace_input, state, mask=vace_input_masks, source=vace_source)
        elif vace_input is not None:
            scales = tuple(video.scale for video in vace_input if video is not None)
            frames, state = self.encode_videos(vace_input, state, mask=vace_input_masks, source=vace_source)
        elif references is not None:
            frames, state = self.encode_empty(state)
        else:
            return None, self.skip(state)
        return Control(frames, scales, references), state

    def encode_depth(
        self,
        depth: Tensor,
        state: ControlState | None,
        *,
        mask: Tensor | None = None,
        source: Tensor | None = None,
    ) -> tuple[Tensor, ControlState]:
        """Depth (B, 1 or 3, T, H, W) in [-1, 1], near = +1 -> control (B, F, vace_in_dim, h, w), new state.

        T is 12. A stream's first chunk gives 9 frames and uses the newest 9 of the 12 (9 are accepted there
        too); no later chunk may be shorter. `mask` (B, 1, T, H, W) in [0, 1] says where to repaint (1,
        everywhere without a mask); elsewhere the picture of `source` (as depth, default: depth itself) is
        kept. Raises ValueError naming what does not fit.
        """
        videos = depth_alone(self._layout, depth)
        return self.encode_videos(videos, state, mask=mask, source=source)

    def encode_videos(
        self,
        videos: Sequence[ControlVideo | None],
        state: ControlState | None,
        *,
        mask: Tensor | None = None,
        source: Tensor | None = None,
    ) -> tuple[Tensor, ControlState]:
        """As `encode_depth`, for several control videos of one stream, the same place in `videos` for the
        same one in every chunk -> the controls of those that are not None, one after the other on the batch
        axis. `mask` is for all of them, and `source` by default the first.
        """
        state = state or ControlState()
        if mask is not None and not self._has_masks:
            raise ValueError(f"masks need control of more channels than vace_in_dim = {self.vace_in_dim}")
        if source is not None and mask is None:
            raise ValueError("source needs a mask that says where to keep it")
        shown = [video for video in videos if video is not None]
        if not shown:
            raise ValueError("control videos: expected at least one, got none")
        pictures = {id(video): self._as_picture(video.picture, state, video.name) for video in shown}
        reactive = [None if video is None else pictures[id(video)] for video in videos]
        if mask is None:
            return self._encode(state, None, reactive, None)
        repaint = self._as_video(mask, state, name="mask", channels=(1,), low=0.0)
        kept = pictures[id(shown[0])] if source is None else self._as_picture(source, state, "source")
        inactive = split_by_mask(kept, repaint)[0]
        painted = [None if video is None else split_by_mask(video, repaint)[1] for video in reactive]
        return self._encode(state, inactive, painted, repaint)

    def encode_empty(self, state: ControlState | None, *, batch: int = 1) -> tuple[Tensor, ControlState]:
        """Control of a chunk that follows no picture, only the prompt and perhaps references."""
        return self._encode(state or ControlState(), None, (), None, batch=batch)

    def skip(self, state: ControlState | None, *, batch: int = 1) -> ControlState:
        """The state after an unguided chunk, so that later control stays aligned with the output.

        Costs nothing, unless pictures went before: then empty frames are encoded until the encoder forgot
        them.
        """
        state = state or ControlState()
        skipped = partial(self._skipped, chunk=state.chunk, batch=batch)
        return ControlState(
            state.chunk + 1, skipped(state.inactive), tuple(skipped(video) for video in state.reactive)
        )

    def encode_camera(
        self, video: Tensor | None, state: ControlEncoderState, *, chunk: int
    ) -> tuple[Tensor | None, ControlEncoderState]:
        """The camera's pictures (1, 3, T, H, W) in [-1, 1] of a stream's chunk number `chunk` -> latents
        (1, F, C, h, w) and the state after it; T as for depth. Without them (None) time goes on, as in
        `skip`. Raises ValueError naming what does not fit."""
        if video is not None:
            frames = self._as_picture(video, ControlState(chunk), "camera")
            return self._encoders.advance(state, frames, chunk=chunk, batch=1)
        return None, self._skipped(state, chunk=chunk, batch=1)

    def encode_references(self, images: Sequence[ReferenceImage]) -> Tensor:
        """1 to 3 pictures -> control (1, R, vace_in_dim, h, w), each encoded as a picture of its own.

        A picture is a path, a PIL image, or a tensor (3, H, W) in [-1, 1]. Encoded once: the same pictures
        give the same tensor object again. Raises ValueError naming the picture that cannot be used.
        """
        check_references(images)
        try:
            key = tuple(reference_key(image) for image in images)
            if key not in self._references:
                self._references[key] = self._encode_references([load_reference(image) for image in images])
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"ref_images: cannot read a picture: {error}") from error
        self._references.move_to_end(key)
        while len(self._references) > REFERENCE_SETS_KEPT:
            self._references.popitem(last=False)
        return self._references[key]

    @torch.inference_mode()
    def warm_up(self, batch: int = 1) -> None:
        """Compute now what the first chunks of the process's first stream would have to."""
        self._encoders.empty_video(batch).settle()

    def _skipped(self, video: ControlEncoderState, *, chunk: int, batch: int) -> ControlEncoderState:
        if video.cache is None:
            return video
        return self._encoders.advance(video, None, chunk=chunk, batch=batch)[1]

    def _ready_references(self, given: Sequence[ReferenceImage] | Tensor) -> Tensor:
        if not isinstance(given, Tensor):
            return self.encode_references(given)
        if given.ndim != 5 or given.shape[2] != self.vace_in_dim:
            raise ValueError(
                f"ref_images must be a list of 1 to {MAX_REFERENCES} images, or what encode_references gave "
                f"for them: (1, R, {self.vace_in_dim}, h, w), got {tuple(given.shape)}"
            )
        return given

    def _encode_references(self, images: list[Tensor]) -> Tensor:
        weight = next(self.autoencoder.parameters())
        fitted = torch.stack(
            [fit_reference(image.to(weight.device), self.height, self.width) for image in images]
        )
        # The batch axis keeps them apart; as frames of one video they would be taken for motion.
        latents, _ = self.autoencoder.encode(fitted[:, None].to(weight.dtype), None)
        return reference_control(latents.transpose(0, 1), self.vace_in_dim)

    def _encode(
        self,
        state: ControlState,
        inactive: Tensor | None,
        reactive: Sequence[Tensor | None],
        mask: Tensor | None,
        batch: int = 1,
    ) -> tuple[Tensor, ControlState]:
        """Videos (B, T, 3, H, W), None where empty, and the mask (B, T, 1, H, W), None where all 1. Without
        any reactive video, the control of an empty one."""
        shown = [video for video in reactive if video is not None]
        at = {"chunk": state.chunk, "batch": shown[0].shape[0] if shown else batch}
        encoded: list[Tensor] = []
        after: list[ControlEncoderState] = []
        for video, memory in zip_longest(reactive or (None,), state.reactive):
            memory = memory or ControlEncoderState()
            if video is not None or not shown or memory.cache is not None:
                latents, memory = self._encoders.advance(memory, video, **at)
                if video is not None or not (shown or encoded):
                    encoded.append(latents)
            after.append(memory)
        count = encoded[0].shape[1]
        if count != self.num_frame_per_block:
            raise ValueError(
                f"VaceEncodingBlock._encode_depth: Expected {self.num_frame_per_block} latent frames "
                f"after VAE encoding, got {count} latent frames"
            )
        state = replace(state, chunk=state.chunk + 1, reactive=tuple(after))
        if not self._has_masks:
            return _stacked(encoded), state
        kept, kept_state = self._encoders.advance(state.inactive, inactive, **at)
        channels = self._mask_channels(mask, encoded[0])
        controls = [torch.cat([kept, latents, channels], dim=2) for latents in encoded]
        return _stacked(controls), replace(state, inactive=kept_state)

    def _mask_channels(self, mask: Tensor | None, latents: Tensor) -> Tensor:
        """The mask's part of a control whose other parts are like `latents` (B, F, C, h, w)."""
        stride = self.autoencoder.config.space_stride
        if mask is None:
            return latents.new_ones(*latents.shape[:2], stride**2, *latents.shape[3:])
        return mask_latents(mask, time_stride=self.vae_temporal_downsample_factor, space_stride=stride)

    def _as_picture(self, given: Tensor, state: ControlState, name: str) -> Tensor:
        """As `_as_video`, with three channels."""
        video = self._as_video(given, state, name=name, channels=(1, 3), low=-1.0)
        return video.expand(-1, -1, 3, -1, -1)

    def _as_video(
        self, given: Tensor, state: ControlState, *, name: str, channels: tuple[int, ...], low: float
    ) -> Tensor:
        """Checked input (B, C, T, H, W) -> the newest frames the chunk takes, (B, T, C, H, W), as the
        autoencoder wants them. Raises ValueError unless shape, count and values (`low` ... 1) are right.
        """
        where = "VaceEncodingBlock._encode_depth:"
        if given.ndim != 5 or given.shape[1] not in channels or not given.is_floating_point():
            kinds = " or ".join(str(count) for count in channels)
            raise ValueError(
                f"{where} Expected {name} of shape (B, {kinds}, T, H, W) in floating point, "
                f"got {tuple(given.shape)} {given.dtype}"
            )
        wanted = self.frames_per_chunk if state.chunk else self.frames_of_first_chunk
        if given.shape[2] not in (wanted, self.frames_per_chunk):
            raise ValueError(
                f"{where} Expected {self.frames_per_chunk} {name} frames "
                f"(num_frame_per_block={self.num_frame_per_block} * "
                f"vae_temporal_downsample_factor={self.vae_temporal_downsample_factor}), "
                f"got {given.shape[2]} frames"
            )
        height, width = given.shape[3:]
        if (height, width) != (self.height, self.width):
            raise ValueError(
                f"{where} {name.capitalize()} resolution {height}x{width} does not match "
                f"target resolution {self.height}x{self.width}"
            )
        used = given[:, :, -wanted:]
        # One wait for the device; a NaN shows in both ends.
        smallest, largest = torch.stack(torch.aminmax(used)).tolist()
        if not (low <= smallest and largest <= 1):
            raise ValueError(
                f"{where} Expected finite {name} values within [{low:g}, 1], got {smallest} ... {largest}"
            )
        weight = next(self.autoencoder.parameters())
        return used.transpose(1, 2).to(weight.device, weight.dtype)


def _stacked(controls: list[Tensor]) -> Tensor:
    """On the batch axis; one alone as it is."""
    return controls[0] if len(controls) == 1 else torch.cat(controls)
