"""Laws of the tiny autoencoder; its numbers are checked in tests/parity."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import ConfigError, TaehvConfig
from streaming.modules.taehv import TAEHV

KEYS = Path(__file__).parents[2] / "parity" / "keys"
SMALL = TaehvConfig(latent_channels=4, encoder_channels=(4, 4, 6, 6), decoder_channels=(8, 6, 4, 4))
PATCHED = TaehvConfig(
    latent_channels=4,
    patch_size=2,
    encoder_channels=(4, 4, 6, 6),
    decoder_channels=(8, 6, 4, 4),
    encoder_space_downscale=(True, True, False),
    decoder_space_upscale=(True, True, False),
)


def build(config: TaehvConfig) -> TAEHV:
    torch.manual_seed(0)
    return TAEHV(config).eval().requires_grad_(False)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.sampled_from([SMALL, PATCHED]))
@settings(max_examples=15)
def test_streamed_equals_offline(groups: list[int], config: TaehvConfig) -> None:
    """However a stream is cut into calls, encoder and decoder give what one long call gives."""
    model, total = build(config), sum(groups)
    video = torch.rand(1, 4 * total - 3, 3, 16, 24) * 2 - 1
    want, _ = model.encode(video, None)
    pictures, _ = model.decode(want, None)
    encoder = decoder = None
    latents, frames, latent_at, frame_at = [], [], 0, 0
    for group in groups:
        count = 4 * group - (3 if encoder is None else 0)
        part, encoder = model.encode(video[:, frame_at : frame_at + count], encoder)
        shown, decoder = model.decode(want[:, latent_at : latent_at + group], decoder)
        latents.append(part)
        frames.append(shown)
        frame_at, latent_at = frame_at + count, latent_at + group
    torch.testing.assert_close(torch.cat(latents, dim=1), want, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.cat(frames, dim=1), pictures, atol=1e-6, rtol=1e-5)
    assert pictures.shape == video.shape


def test_nine_frames_then_twelve() -> None:
    model, memory, counts = build(SMALL), None, []
    for _ in range(3):
        frames, memory = model.decode(torch.randn(1, 3, 4, 2, 3), memory)
        counts.append(frames.shape[1])
    assert counts == [9, 12, 12]


def test_latent_k_sees_no_later_frame() -> None:
    """Wan's grouping 0 | 1-4 | 5-8: control frame k describes output frame k."""
    model, video = build(SMALL), torch.rand(1, 9, 3, 16, 16)
    latents, _ = model.encode(video, None)
    for frame, first_changed in ((0, 0), (1, 1), (4, 1), (5, 2), (8, 2)):
        other = video.clone()
        other[:, frame] += 0.5
        changed = (model.encode(other, None)[0] != latents).flatten(2).any(-1)[0].tolist()
        assert changed.index(True) == first_changed


def test_memories_are_values() -> None:
    """An old memory can be used again: nothing is hidden in the module."""
    model, z = build(SMALL), torch.randn(1, 3, 4, 2, 3)
    _, memory = model.decode(z, None)
    first, _ = model.decode(z, memory)
    model.decode(torch.randn_like(z), memory)
    assert torch.equal(model.decode(z, memory)[0], first)


def test_a_wrong_number_of_frames_is_named() -> None:
    model = build(SMALL)
    with pytest.raises(ValueError, match=r"4k \+ 1 frames at a stream's start, got 12"):
        model.encode(torch.zeros(1, 12, 3, 16, 16), None)
    _, memory = model.encode(torch.zeros(1, 9, 3, 16, 16), None)
    with pytest.raises(ValueError, match="a multiple of 4 frames, got 9"):
        model.encode(torch.zeros(1, 9, 3, 16, 16), memory)
    with pytest.raises(ConfigError, match="must agree in space"):
        TaehvConfig(encoder_space_downscale=(True, True, False))


def test_the_published_file_fits_by_name_and_shape() -> None:
    published = json.loads((KEYS / "taew2_1.json").read_text())
    with torch.device("meta"):
        built = TAEHV(TaehvConfig())
    assert {key: list(value.shape) for key, value in built.state_dict().items()} == published["keys"]
