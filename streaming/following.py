"""Follower's side of an engine: the same networks on another device, for what the leader shares.

That is the passes of the transformer, and the depth of a chunk's pictures. Followers decode and encode
nothing: these networks are let go of once the passes are there. A rank that did would be told by a message of
a kind of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from streaming.acceleration import Optimizations, accelerate
from streaming.chunk_passes import FollowingPasses
from streaming.config import PipelineConfig
from streaming.depth.estimators import DepthEstimator
from streaming.depth.shared_depth import SharedDepth
from streaming.parallel.message import Kind, Message
from streaming.parallel.ranks import Ranks
from streaming.pipeline import LongLivePipeline


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every rank makes its networks, each on its device. Goes to other processes."""

    pipeline_class: type[LongLivePipeline]
    config: PipelineConfig
    dtype: torch.dtype
    depth: Callable[[torch.device, torch.dtype], DepthEstimator]
    optimizations: Optimizations | None = None

    def pipeline(self, device: torch.device, ranks: Ranks) -> LongLivePipeline:
        """With its optimizations."""
        pipeline = self.pipeline_class(self.config, device, self.dtype, ranks)
        if self.optimizations is not None:
            accelerate(pipeline, self.optimizations)
        return pipeline

    def estimator(self, device: torch.device, ranks: Ranks) -> DepthEstimator:
        own = self.depth(device, self.dtype)
        return own if ranks.size == 1 else SharedDepth(own, ranks)

    def follow(
        self, ranks: Ranks, device: torch.device, ready: Callable[[], None], messages: Iterator[Message]
    ) -> None:
        """A `streaming.parallel.launch.Follow`."""
        follow(Follower(self.pipeline(device, ranks), self.estimator(device, ranks)), ready, messages)


class Follower:
    """What a follower keeps of its networks."""

    def __init__(self, pipeline: LongLivePipeline, estimator: DepthEstimator) -> None:
        self._device = pipeline.device
        self._estimator = estimator
        self._passes = FollowingPasses(
            pipeline.models.transformer,
            pipeline.preset.latent_size,
            pipeline.passes.capture,
            pipeline.new_cache,
        )
        self._passes.side_stream = pipeline.passes.side_stream

    @torch.inference_mode()
    def do(self, message: Message) -> None:
        """Its share of what the leader does. Raises whatever goes wrong: then no rank can go on."""
        if message.kind is not Kind.DEPTH:
            self._passes.follow(message)
        elif isinstance(self._estimator, SharedDepth):
            size = message.rows, message.columns
            self._estimator.share(torch.empty(message.frames, 3, *size, device=self._device))


def follow(follower: Follower, ready: Callable[[], None], messages: Iterator[Message]) -> None:
    """Do what the messages say, until they end."""
    ready()
    for message in messages:
        follower.do(message)
