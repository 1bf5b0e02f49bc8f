"""Pipelines of the tests of ranks: what every rank builds, and a stand-in for CUDA graphs."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from streaming.depth.estimators import EdgesDepth
from streaming.depth.shared_depth import SharedDepth
from streaming.following import Follower, follow
from streaming.gpu.cuda_graphs import CapturedGraph
from streaming.parallel.message import Message
from streaming.parallel.ranks import ALONE, Ranks
from streaming.pipeline import LongLivePipeline
from tests.streaming.tiny_preset import NARROW, narrow_pipeline

# Three heads and six tokens a latent: neither goes into 2 or 4, and of 4 ranks one has no head and no token.
THREE_HEADS = replace(NARROW, transformer=replace(NARROW.transformer, num_heads=3))


def built(ranks: Ranks = ALONE, *, records: bool = False) -> LongLivePipeline:
    pipeline = narrow_pipeline(THREE_HEADS, ranks=ranks)
    pipeline.passes.capture = repeated if records else None
    return pipeline


def repeated(run: Callable[[], Tensor]) -> CapturedGraph:
    """As a graph it is run once more than it is asked for, and then whenever it is replayed; what is outside
    of `run` is not."""
    run()
    output = run()
    return CapturedGraph(output, lambda: output.copy_(run()))


def shared_edges(ranks: Ranks) -> SharedDepth:
    return SharedDepth(EdgesDepth(torch.device("cpu")), ranks)


def follow_records(
    ranks: Ranks, device: torch.device, ready: Callable[[], None], messages: Iterator[Message]
) -> None:
    follow(Follower(built(ranks, records=True), shared_edges(ranks)), ready, messages)


def follow_plain(
    ranks: Ranks, device: torch.device, ready: Callable[[], None], messages: Iterator[Message]
) -> None:
    follow(Follower(built(ranks), shared_edges(ranks)), ready, messages)
