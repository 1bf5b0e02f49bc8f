from typing import Any

import pytest
import torch
from torch import Tensor

from streaming.blocks.control_encoders import ControlEncoders, ControlEncoderState
from streaming.config import TaehvConfig
from streaming.modules.taehv import TAEHV
from streaming.modules.wan_vae import WanVAE, WanVaeConfig

CHUNKS = 18  # the longest memory here, Wan's, is 11


class Counted:
    """An autoencoder that counts its calls."""

    def __init__(self, autoencoder: WanVAE | TAEHV) -> None:
        self._autoencoder = autoencoder
        self.config = autoencoder.config
        self.parameters = autoencoder.parameters
        self.calls = 0

    def encode(self, video: Tensor, cache: Any, /) -> tuple[Tensor, Any]:
        self.calls += 1
        return self._autoencoder.encode(video, cache)


@pytest.fixture(params=["wan", "taehv"])
def autoencoder(request: pytest.FixtureRequest) -> Counted:
    torch.manual_seed(0)
    if request.param == "wan":
        model = WanVAE(WanVaeConfig(dim=2, num_res_blocks=1))
    else:
        model = TAEHV(TaehvConfig(encoder_channels=(4, 4, 4, 4), decoder_channels=(4, 4, 4, 4)))
    return Counted(model.double().eval().requires_grad_(False))


@pytest.fixture
def encoders(autoencoder: Counted) -> ControlEncoders:
    return ControlEncoders(autoencoder, height=16, width=16, first=9, later=12)


def pictures(chunk: int, seed: int = 0) -> Tensor:
    noise = torch.Generator().manual_seed(100 * seed + chunk)
    return torch.rand(1, 12 if chunk else 9, 3, 16, 16, generator=noise, dtype=torch.float64) * 2 - 1


def run(encoders: ControlEncoders, videos: list[Tensor | None]) -> list[Tensor]:
    state, parts = ControlEncoderState(), []
    for chunk, video in enumerate(videos):
        latents, state = encoders.advance(state, video, chunk=chunk, batch=1)
        parts.append(latents)
    return parts


def live(autoencoder: Counted, videos: list[Tensor | None]) -> list[Tensor]:
    """What an encoder gives that is really run on every chunk."""
    cache, parts = None, []
    for chunk, video in enumerate(videos):
        frames = torch.zeros_like(pictures(chunk)) if video is None else video
        latents, cache = autoencoder.encode(frames, cache)
        parts.append(latents)
    return parts


SHOWN = {
    "never": set(),
    "always": set(range(CHUNKS)),
    "from the start": {0, 1, 2},
    "early": {1},
    "late": {CHUNKS - 2, CHUNKS - 1},
    "now and then": {0, 4, 5, 9},
    "never quiet for long": {0, 4, 8, 12, 16},  # quiet for longer than the memory in all
    "again after all was forgotten": {1, 16},
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN.keys())
def test_an_encoder_equals_one_that_never_rests(
    autoencoder: Counted, encoders: ControlEncoders, shown: set[int]
) -> None:
    """Whether the empty video is known or not."""
    videos = [pictures(chunk) if chunk in shown else None for chunk in range(CHUNKS)]
    wanted, cold = live(autoencoder, videos), run(encoders, videos)
    encoders.empty_video(1).settle()
    for name, found in (("cold", cold), ("warm", run(encoders, videos))):
        for chunk, (got, want) in enumerate(zip(found, wanted, strict=True)):
            torch.testing.assert_close(
                got, want, rtol=0, atol=1e-9, msg=lambda m, place=(name, chunk): f"{place}: {m}"
            )


def test_an_empty_video_costs_nothing_once_settled(autoencoder: Counted, encoders: ControlEncoders) -> None:
    settled = encoders.empty_video(1).settle()
    assert 1 < settled < 12
    calls = autoencoder.calls
    run(encoders, [None] * 40)
    assert autoencoder.calls == calls


def test_every_stream_shares_the_empty_video(autoencoder: Counted, encoders: ControlEncoders) -> None:
    run(encoders, [None] * CHUNKS)
    calls = autoencoder.calls
    run(encoders, [None] * CHUNKS)
    assert autoencoder.calls == calls


def test_an_encoder_rests_again_when_its_pictures_are_forgotten(
    autoencoder: Counted, encoders: ControlEncoders
) -> None:
    settled = encoders.empty_video(1).settle()
    state = ControlEncoderState()
    for chunk in range(settled + 2):
        video = pictures(chunk) if chunk < 2 else None
        _, state = encoders.advance(state, video, chunk=chunk, batch=1)
    assert state == ControlEncoderState()
    calls = autoencoder.calls
    encoders.advance(state, None, chunk=settled + 2, batch=1)
    assert autoencoder.calls == calls


def test_an_encoder_counts_its_empty_chunks_from_its_last_picture(encoders: ControlEncoders) -> None:
    settled = encoders.empty_video(1).settle()
    state, counts = ControlEncoderState(), []
    shown = (1, settled)  # the second in the last chunk before the first is forgotten
    for chunk in range(2 * settled + 1):
        _, state = encoders.advance(state, pictures(chunk) if chunk in shown else None, chunk=chunk, batch=1)
        counts.append(state.empty_chunks)
        assert (state.cache is None) == (chunk in (0, 2 * settled)), "forgotten neither sooner nor later"
    assert counts == [0, *range(settled - 1), *range(settled), 0]


def test_an_empty_video_is_kept_for_each_size_of_batch_and_type(encoders: ControlEncoders) -> None:
    kinds = {batch: encoders.empty_video(batch) for batch in (1, 2)}
    assert kinds[1] is not kinds[2]
    assert all(encoders.empty_video(batch) is kept for batch, kept in kinds.items())


def test_an_empty_video_that_never_settles_stays_bounded(autoencoder: Counted) -> None:
    class Restless(Counted):
        def encode(self, video: Tensor, cache: Any, /) -> tuple[Tensor, Any]:
            latents, cache = super().encode(video, cache)
            return latents + 1e-9 * self.calls, cache

    encoders = ControlEncoders(Restless(autoencoder._autoencoder), height=16, width=16, first=9, later=12)
    assert encoders.empty_video(1).settle() == 32
    assert torch.equal(encoders.empty_video(1).latents(1000), encoders.empty_video(1).latents(31))


def test_encodings_of_a_batch_have_its_size(encoders: ControlEncoders) -> None:
    latents, _ = encoders.advance(ControlEncoderState(), None, chunk=0, batch=2)
    one, _ = encoders.advance(ControlEncoderState(), None, chunk=0, batch=1)
    assert latents.shape[0] == 2
    torch.testing.assert_close(latents[1:], one, rtol=0, atol=1e-12)
