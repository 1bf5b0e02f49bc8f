from dataclasses import replace

import pytest
import torch

from streaming.checkpoints.presets import EMBEDDED, LONGLIVE, WAN_1_3B, find_preset
from streaming.config import ConfigError, TaehvConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel


def test_presets_are_found_by_name_and_others_are_named() -> None:
    assert find_preset("longlive-1.3b") is LONGLIVE
    with pytest.raises(ConfigError, match="one of embedded, longlive-1.3b, got 'sora'"):
        find_preset("sora")


WAN_14B = replace(
    WAN_1_3B, dim=5120, ffn_dim=13824, num_heads=40, num_layers=40, vace_layers=tuple(range(0, 40, 5))
)


def test_the_published_sizes() -> None:
    """A latent frame of 480 x 832 has 1560 tokens; the 14B branch has 8 blocks on every fifth layer."""
    height, width = LONGLIVE.latent_size
    assert height * width // 4 == 1560
    with torch.device("meta"):
        model = CausalVaceWanModel(WAN_14B)
    assert len(model.vace_blocks) == 8 and WAN_14B.vace_layers[-1] == 35
    # Wan 2.1 14B has 14.29 billion parameters without the branch.
    own = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("vace_"))
    assert own == 14_288_491_584


def test_sizes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 16, .* got 256x150; nearest: 256x144, 256x160"):
        replace(EMBEDDED, height=150)
    with pytest.raises(ConfigError, match="autoencoder has 8 latent channels, the transformer takes 16"):
        replace(EMBEDDED, autoencoder=TaehvConfig(latent_channels=8))


@pytest.mark.parametrize("size", [(480, 832), (16, 16), (4096, 64)])
def test_a_preset_takes_any_size_of_its_multiples(size: tuple[int, int]) -> None:
    made = LONGLIVE.with_size(size)
    assert (made.width, made.height) == size
    assert made.turned().turned() == made
    assert LONGLIVE.with_size(None) is LONGLIVE


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((833, 480), "832x480, 848x480"),
        ((830, 475), "816x464, 832x480"),
        ((0, 480), "16x480"),
        ((-16, 480), "16x480"),
        ((5000, 480), "4096x480"),
    ],
)
def test_a_size_that_cannot_be_is_named_with_those_near_it(size: tuple[int, int], nearest: str) -> None:
    got = f"got {size[0]}x{size[1]}; nearest: {nearest}"
    with pytest.raises(ConfigError) as refused:
        LONGLIVE.with_size(size)
    assert str(refused.value) == f"size of longlive-1.3b must be multiples of 16, up to 4096, {got}"
