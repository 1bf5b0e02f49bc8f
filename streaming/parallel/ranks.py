"""Sequence parallelism after DeepSpeed-Ulysses (arXiv 2309.14509): ranks share the tokens of every pass, and
within attention the heads.

    tokens = ranks.scatter(tokens, grid)             # of all latents, this rank's places
    q, k, v = ranks.to_heads(grid, q, k, v)          # all tokens, this rank's heads
    attended = ranks.to_tokens(grid, attend(q, k, v))
    whole = ranks.gather(tokens, grid)

A rank has the same places of every latent, not a run of the chunk: whatever is one value per latent
(modulation) then fits its tokens as it fits the whole chunk's. Attention to text needs no exchange, since
each rank has all of the text.

Any number of ranks goes with any number of heads and tokens: both are padded with zeros to the next
multiple, heads at the end, and the places of each latent at its end. How long attention takes is decided by
the rank with the most heads, which are as many if heads are shared unevenly; and so every rank runs the same
kernels on the same sizes, in one all-to-all of equal pieces. Padded tokens are cut off on arrival, before
attention or a ring sees them; the output of padded heads is thrown away.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.kernels.fp8 import carried
from streaming.parallel.followers import Followers
from streaming.parallel.group import Group
from streaming.parallel.message import Message

Grid = tuple[int, int, int]  # latents, token rows, token columns


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which rank of how many this process is. One alone has no group, and then everything here hands back
    what it is given."""

    size: int = 1
    rank: int = 0
    group: Group | None = None
    followers: Followers | None = None  # of the leader

    def scatter(self, tokens: Tensor, grid: Grid, dim: int = 1) -> Tensor:
        """This rank's share of `tokens`, whose dimension `dim` counts them: L to `share` of them."""
        if self.group is None:
            return tokens
        places = grid[1] * grid[2]
        share = _share(places, self.size)
        begin = min(self.rank * share, places)
        mine = tokens.unflatten(dim, (grid[0], places)).narrow(dim + 1, begin, min(share, places - begin))
        return _padded(mine, dim + 1, share).flatten(dim, dim + 1).contiguous()

    def gather(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Shares of all ranks (B, L', E) -> (B, L, E)."""
        if self.group is None:
            return tokens
        return _in_order(self.group.all_gather(tokens), grid, 1)

    def to_heads(self, grid: Grid, *parts: Tensor) -> tuple[Tensor, ...]:
        """Each (B, L', N, D), this rank's tokens of all heads -> (B, L, n, D), all tokens of this rank's
        heads."""
        if self.group is None:
            return parts
        dtype = parts[0].dtype
        heads = self.heads(parts[0].shape[2])
        shares = [
            _padded(carried(part), 2, heads * self.size).unflatten(2, (self.size, heads)).movedim(2, 0)
            for part in parts
        ]
        received = self.group.all_to_all(torch.stack(shares, 1))  # all in one exchange
        return _in_order(received, grid, 2).view(dtype).unbind(0)

    def to_tokens(self, grid: Grid, attended: Tensor, num_heads: int) -> Tensor:
        """(B, L, n, D), all tokens of this rank's heads -> (B, L', N, D), this rank's tokens of all heads."""
        if self.group is None:
            return attended
        share = _share(grid[1] * grid[2], self.size)
        places = _padded(attended.unflatten(1, (grid[0], -1)), 2, share * self.size)
        received = self.group.all_to_all(places.unflatten(2, (self.size, share)).movedim(2, 0))
        return received.movedim(0, 3).flatten(3, 4)[:, :, :, :num_heads].flatten(1, 2)

    def heads(self, num_heads: int) -> int:
        """How many of a layer's heads each rank attends with, padding included."""
        return _share(num_heads, self.size)

    def broadcast(self, tensor: Tensor) -> None:
        """The leader's values, into every rank's `tensor`."""
        if self.group is not None:
            self.group.broadcast(tensor)

    def tell(self, message: Message) -> None:
        """The leader's followers do the same. Raises RankLost."""
        if self.followers is not None:
            self.followers.tell(message)

    def told(self, message: Message) -> "_Told":
        """To be entered for collectives, which followers enter when they are told so. What fails in here
        leaves them waiting at another place: they are lost with it. Entering and leaving raise RankLost."""
        return _Told(self, message)

    def check(self) -> None:
        """Raises RankLost if a rank is gone."""
        if self.followers is not None:
            self.followers.check()


ALONE = Ranks()


@dataclass(frozen=True, slots=True)
class _Told:
    ranks: Ranks
    message: Message

    def __enter__(self) -> None:
        self.ranks.tell(self.message)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or self.ranks.followers is None:
            return
        lost = self.ranks.followers.lose(error)
        if isinstance(error, Exception):  # an interrupt stays one
            raise lost from error


def _share(count: int, size: int) -> int:
    return -(-count // size)


def _padded(x: Tensor, dim: int, count: int) -> Tensor:
    """Zeros at the end of a dimension, up to `count`."""
    missing = count - x.shape[dim]
    return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (0, missing)) if missing else x


def _in_order(received: Tensor, grid: Grid, dim: int) -> Tensor:
    """Shares of all ranks (R, ..., L', ...), whose dimension `dim + 1` counts tokens -> (..., L, ...), whose
    dimension `dim` does: by latent, then by place, without padding."""
    shares = received.unflatten(dim + 1, (grid[0], -1)).movedim(0, dim + 1)
    return shares.flatten(dim + 1, dim + 2).narrow(dim + 1, 0, grid[1] * grid[2]).flatten(dim, dim + 1)
