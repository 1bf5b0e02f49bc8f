"""The memory of one stream. Weights are shared by all sessions of a process, states never are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from streaming.api import WeightedPrompts
from streaming.blocks.control_encoders import ControlEncoderState
from streaming.blocks.prompt_blend import PromptBlend
from streaming.blocks.vace_encoding import ControlState
from streaming.chunk_passes import PendingCleanPass
from streaming.config import CHUNK_LATENTS
from streaming.modules.kv_cache import RingKVCache


@dataclass(slots=True, weakref_slot=True)
class StreamSession:
    """Everything one stream remembers between chunks; dropping this ends the stream.

    The caches (keys and values, the encoders' inside `control` and `camera`, decoder) begin and end together:
    `reset` replaces all of them, and nothing else does.
    """

    cache: RingKVCache
    seed: int
    chunk: int = 0  # index of the next chunk since the last reset
    frame: int = 0  # frames given out since the session was opened; never goes back
    generation: int = 0  # rises with every reset; results of an older one are stale
    prompts: WeightedPrompts | None = None  # what the window was computed with, or blends into
    ahead: WeightedPrompts | None = None  # what the window was computed with since, for the next chunk
    blend: PromptBlend | None = None  # under way to `prompts`; None: the window has arrived there
    control: ControlState | None = None
    camera: ControlEncoderState = ControlEncoderState()  # of camera pictures that chunks start from
    decoder: Any = None  # the decoder's memory; its kind is the decoder's affair
    references: Tensor | None = None  # control of the reference pictures last met
    recent: Tensor | None = None  # newest clean latents (B, up to the window, C, h, w)
    sink: Tensor | None = None  # first clean latents since the last reset (B, up to the sink, C, h, w)
    sink_prompts: WeightedPrompts | None = None  # what the sink was computed with: no later prompt changes it
    pending: PendingCleanPass | None = None  # of the last chunk; to be run before the next
    noise: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.noise = torch.Generator(self.cache.k.device).manual_seed(self.seed)

    @property
    def latent(self) -> int:
        """Index of the next latent since the last reset."""
        return self.chunk * CHUNK_LATENTS

    def reset(self, seed: int | None = None) -> None:
        """Hard reset: as if just opened, except for `frame` and `generation`. The same seed gives the same
        stream. A blend under way is over: the next chunk has the whole prompt."""
        self.seed = self.seed if seed is None else seed
        self.noise.manual_seed(self.seed)
        self.cache.reset()
        self.chunk = 0
        self.generation += 1
        self.camera = ControlEncoderState()
        self.control = self.decoder = self.references = self.blend = self.pending = self.ahead = None
        self.recent = self.sink = self.sink_prompts = None

    @contextmanager
    def or_reset(self) -> Iterator[None]:
        """What fails in here leaves a fresh stream: with half a chunk in the ring all that comes would be
        in the wrong place."""
        try:
            yield
        except BaseException:
            self.reset()
            raise

    def recached(self) -> None:
        """Note that the window has been computed with `prompts`; so has the sink, if it is in there."""
        if self.latent <= self.cache.window.local_attn_size:
            self.sink_prompts = self.prompts

    def advance(self, latents: Tensor, num_frames: int) -> None:
        """Note a finished chunk: latents (B, F, C, h, w) and how many frames they gave."""
        past = latents if self.recent is None else torch.cat([self.recent, latents], dim=1)
        self.recent = past[:, -self.cache.window.local_attn_size :]
        if self.latent < (sink_size := self.cache.window.sink_size):
            self.sink, self.sink_prompts = past[:, :sink_size], self.prompts
        self.chunk += 1
        self.frame += num_frames
