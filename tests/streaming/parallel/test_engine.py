"""Laws of an engine whose streams are computed by several ranks."""

import os
import signal

import numpy as np
import pytest
import torch

from streaming.api import ChunkParameters, Gpus
from streaming.engine import StreamEngine, number_of_ranks
from streaming.parallel.followers import RankLost
from streaming.stream import LiveStream


def loaded(gpus: Gpus) -> StreamEngine:
    return StreamEngine.load(model="embedded", depth="edges", device="cpu", random_weights=True, gpus=gpus)


def test_an_engine_of_two_ranks_is_lost_with_one_of_them() -> None:
    """Before, it says the same as an engine of one, of streams that go on from elsewhere, too. How the
    server is told: `check_device`."""

    def chunk(stream: LiveStream) -> np.ndarray:
        camera = [np.full((144, 256, 3), 20 * n, np.uint8) for n in range(stream.frames_wanted)]
        return stream.step(camera, ChunkParameters()).frames.astype(int)

    one, two = loaded(1), loaded(2)
    first, stream = one.open(prompt="gold", seed=0), two.open(prompt="gold", seed=0)
    assert np.abs(chunk(stream) - chunk(first)).max() <= 1
    while first._session.latent <= one.pipeline.preset.window.local_attn_size:  # its sink stands apart then
        chunk(first)
    parts = first.snapshot().parts()
    assert np.abs(chunk(two.restore(parts)) - chunk(one.restore(parts))).max() <= 1
    two.check_device()
    followers = two.pipeline.ranks.followers
    assert followers is not None and followers.processes[0].pid is not None
    os.kill(followers.processes[0].pid, signal.SIGKILL)
    with pytest.raises(RankLost, match="rank 1 of 2 was ended by signal 9"):
        two.flush()
    with pytest.raises(RuntimeError):
        chunk(stream)
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
