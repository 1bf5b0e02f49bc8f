"""Laws of an engine whose streams are computed by several ranks."""

import os
import signal

import numpy as np
import pytest
import torch

from streaming.api import FIRST_CHUNK, ChunkParameters, Gpus
from streaming.engine import StreamEngine, number_of_ranks
from streaming.parallel.followers import RankLost


def loaded(gpus: Gpus) -> StreamEngine:
    return StreamEngine.load(model="embedded", depth="edges", device="cpu", random_weights=True, gpus=gpus)


def test_an_engine_of_two_ranks_is_lost_with_one_of_them() -> None:
    """Before, it says the same as an engine of one. How the server is told: `check_device`."""
    camera = [np.full((144, 256, 3), 20 * n, np.uint8) for n in range(FIRST_CHUNK)]
    one, two = loaded(1), loaded(2)
    first = one.open(prompt="gold", seed=0).step(camera, ChunkParameters())
    stream = two.open(prompt="gold", seed=0)
    assert np.abs(stream.step(camera, ChunkParameters()).frames - first.frames.astype(int)).max() <= 1
    two.check_device()
    followers = two.pipeline.ranks.followers
    assert followers is not None and followers.processes[0].pid is not None
    os.kill(followers.processes[0].pid, signal.SIGKILL)
    with pytest.raises(RankLost, match="rank 1 of 2 was ended by signal 9"):
        two.flush()
    with pytest.raises(RuntimeError):
        stream.step(camera, ChunkParameters())
    with pytest.raises(RankLost):
        two.check_device()
    one.check_device()


@pytest.mark.parametrize(
    ("gpus", "name", "device", "ranks"),
    [
        (1, "auto", "cpu", 1),
        ("auto", "auto", "cpu", 1),
        (3, "cpu", "cpu", 3),
        (1, "auto", "cuda", 1),
        ("auto", "auto", "cuda", 4),
        (4, "cuda", "cuda", 4),
        (3, "cuda:0", "cuda:0", 3),
        ("auto", "cuda:2", "cuda:2", 1),
    ],
)
def test_so_many_ranks_as_are_asked_for_and_visible(
    monkeypatch: pytest.MonkeyPatch, gpus: Gpus, name: str, device: str, ranks: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert number_of_ranks(gpus, name, torch.device(device)) == ranks


@pytest.mark.parametrize(
    ("name", "device", "words"),
    [
        ("auto", "cpu", "gpus: expected 1 or auto, there is no GPU here, got 5"),
        ("cuda", "cuda", "gpus: expected auto or at most 4, which are visible here, got 5"),
        ("cuda:1", "cuda:1", "gpus: expected 1 with device cuda:1, got 5"),
    ],
)
def test_more_gpus_than_there_are_get_a_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, device: str, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ValueError, match=words):
        number_of_ranks(5, name, torch.device(device))
