"""Depth of a chunk's pictures by several ranks: each estimates some, since none depends on another."""

from torch import Tensor

from streaming.depth.estimators import DepthEstimator
from streaming.depth.range import DepthRange
from streaming.parallel.message import Kind, Message
from streaming.parallel.ranks import Ranks


class SharedDepth:
    """A `DepthEstimator` of the leader; followers have one too, and call `share` when they are told."""

    def __init__(self, estimator: DepthEstimator, ranks: Ranks) -> None:
        self._estimator, self._ranks = estimator, ranks

    def estimate(self, frames: Tensor) -> Tensor:
        """See `DepthEstimator`. Raises RankLost, and for whatever else fails in it."""
        rows, columns = frames.shape[2:]
        with self._ranks.told(Message(Kind.DEPTH, frames=len(frames), rows=rows, columns=columns)):
            return self.share(frames)

    def new_range(self) -> DepthRange:
        return self._estimator.new_range()

    def share(self, frames: Tensor) -> Tensor:
        """Depth (T, H, W) of the leader's frames (T, 3, H, W), which replace a follower's. All ranks call it
        at the same time."""
        grid = (1, len(frames), 1)  # pictures in place of tokens
        frames = frames.contiguous()
        self._ranks.broadcast(frames)
        mine = self._estimator.estimate(self._ranks.scatter(frames, grid, dim=0))
        return self._ranks.gather(mine.flatten(1)[None], grid)[0].unflatten(1, frames.shape[2:])
