import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streaming.config import ConfigError
from streaming.modules.wan_vae import WAN_MEAN, EncoderCache, WanVAE, WanVaeConfig, arrange

KEYS = Path(__file__).parents[2] / "parity" / "keys" / "wan2.1_vae.json"
SMALL = WanVaeConfig(dim=2, z_dim=3, num_res_blocks=1, mean=(0.1, -0.2, 0.3), std=(1.5, 0.5, 2.0))


def make_vae(config: WanVaeConfig = SMALL) -> WanVAE:
    """In float64, so that equal means equal; every parameter random, gains included."""
    torch.manual_seed(0)
    vae = WanVAE(config).double().eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if "gamma" in name:
            parameter.uniform_(0.5, 1.5)
    return vae


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    return make_vae()


@pytest.fixture(scope="module")
def video() -> Tensor:
    return torch.rand(1, 21, 3, 16, 24, dtype=torch.float64, generator=torch.manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(1, 6, 3, 2, 3, dtype=torch.float64, generator=torch.manual_seed(2))


def stream(direction, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    cache, parts, start = None, [], 0
    for size in sizes:
        part, cache = direction(x[:, start : start + size], cache)
        parts.append(part)
        start += size
    assert start == x.shape[1]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("cut", [(9, 12), (1, *(4,) * 5), (1, 20), (17, 4)])
def test_encoded_in_any_calls_equals_encoded_at_once(
    vae: WanVAE, video: Tensor, cut: tuple[int, ...]
) -> None:
    offline, _ = vae.encode(video)
    assert offline.shape == (1, 6, 3, 2, 3)
    torch.testing.assert_close(stream(vae.encode, video, cut), offline, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cut", [(3, 3), (1,) * 6, (1, 5), (2, 1, 3)])
def test_decoded_in_any_calls_equals_decoded_at_once(
    vae: WanVAE, latents: Tensor, cut: tuple[int, ...]
) -> None:
    offline, _ = vae.decode(latents)
    assert offline.shape == (1, 21, 3, 16, 24)
    torch.testing.assert_close(stream(vae.decode, latents, cut), offline, rtol=0, atol=1e-12)


def test_a_frame_changes_no_earlier_latent(vae: WanVAE, video: Tensor) -> None:
    before, _ = vae.encode(video)
    for frame, latent in ((0, 0), (1, 1), (4, 1), (5, 2), (20, 5)):
        changed = video.clone()
        changed[:, frame] += 0.5
        difference = (vae.encode(changed)[0] - before).abs().amax(dim=(0, 2, 3, 4))
        assert (difference[:latent] == 0).all() and difference[latent] > 0


def test_a_latent_changes_no_earlier_frame(vae: WanVAE, latents: Tensor) -> None:
    before, _ = vae.decode(latents)
    for latent, frame in ((0, 0), (1, 1), (2, 5), (5, 17)):
        changed = latents.clone()
        changed[:, latent] += 0.5
        difference = (vae.decode(changed)[0] - before).abs().amax(dim=(0, 2, 3, 4))
        assert (difference[:frame] == 0).all() and difference[frame] > 0


@pytest.mark.parametrize("how", [{"channels_last": True}, {"by_taps": True}])
def test_convolutions_may_be_computed_in_other_ways(
    vae: WanVAE, video: Tensor, latents: Tensor, how: dict[str, bool]
) -> None:
    other = make_vae()
    arrange(other, **how)
    for direction, x, cut in (("encode", video, (9, 12)), ("decode", latents, (3, 3))):
        got, wanted = (stream(getattr(network, direction), x, cut) for network in (other, vae))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    assert {key: v.shape for key, v in other.state_dict().items()} == {
        key: v.shape for key, v in vae.state_dict().items()
    }


def test_a_cache_is_a_value(vae: WanVAE, video: Tensor) -> None:
    _, cache = vae.encode(video[:, :9])
    kept = [tensor.clone() for tensor in cache.past]
    once, after = vae.encode(video[:, 9:21], cache)
    again, _ = vae.encode(video[:, 9:21], cache)
    assert torch.equal(once, again)
    assert all(torch.equal(now, then) for now, then in zip(cache.past, kept, strict=True))
    assert after is not cache


def test_interleaved_streams_do_not_touch_each_other(vae: WanVAE, video: Tensor, latents: Tensor) -> None:
    other = video.flip(1)
    caches, parts, decoder, frames = [None, None], ([], []), None, []
    for chunk, (start, stop) in enumerate(((0, 9), (9, 21))):
        for lane, source in enumerate((video, other)):
            part, caches[lane] = vae.encode(source[:, start:stop], caches[lane])
            parts[lane].append(part)
        part, decoder = vae.decode(latents[:, 3 * chunk : 3 * chunk + 3], decoder)
        frames.append(part)
    for lane, source in enumerate((video, other)):
        torch.testing.assert_close(torch.cat(parts[lane], 1), vae.encode(source)[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat(frames, 1), vae.decode(latents)[0], rtol=0, atol=1e-12)


def test_a_cache_holds_no_more_memory_than_its_frames(vae: WanVAE, video: Tensor, latents: Tensor) -> None:
    for cache in (vae.encode(video)[1], vae.decode(latents)[1]):
        for tensor in cache.past:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_streams_of_one_batch_are_apart(vae: WanVAE, video: Tensor, latents: Tensor) -> None:
    both, _ = vae.encode(torch.cat([video, video.flip(1)]))
    torch.testing.assert_close(both[1:], vae.encode(video.flip(1))[0], rtol=0, atol=1e-12)
    both, _ = vae.decode(torch.cat([latents, -latents]))
    torch.testing.assert_close(both[1:], vae.decode(-latents)[0], rtol=0, atol=1e-12)


def test_latents_are_normalised_and_denormalised(video: Tensor, latents: Tensor) -> None:
    plain = make_vae(replace(SMALL, mean=(0.0,) * 3, std=(1.0,) * 3))
    scaled = make_vae()
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(3, 1, 1) for v in (SMALL.mean, SMALL.std))
    raw, _ = plain.encode(video[:, :9])
    torch.testing.assert_close(scaled.encode(video[:, :9])[0], (raw - mean) / std, rtol=1e-6, atol=1e-6)
    frames, _ = plain.decode(latents * std + mean)
    torch.testing.assert_close(scaled.decode(latents)[0], frames, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frames", [0, 2, 4, 8, 12])
def test_a_stream_must_start_with_whole_groups(vae: WanVAE, video: Tensor, frames: int) -> None:
    with pytest.raises(ValueError, match=rf"4k \+ 1 frames at a stream's start, got {frames}"):
        vae.encode(video[:, :frames])


@pytest.mark.parametrize("frames", [0, 1, 9, 11])
def test_a_stream_must_go_on_in_whole_groups(vae: WanVAE, video: Tensor, frames: int) -> None:
    _, cache = vae.encode(video[:, :1])
    with pytest.raises(ValueError, match=f"a multiple of 4 frames, got {frames}"):
        vae.encode(video[:, :frames], cache)


def test_wrong_shapes_are_named(vae: WanVAE, video: Tensor, latents: Tensor) -> None:
    with pytest.raises(ValueError, match=r"video \(B, T, 3, H, W\), got \(1, 3, 21, 16, 24\)"):
        vae.encode(video.transpose(1, 2))
    with pytest.raises(ValueError, match="multiples of 8, got 12x24"):
        vae.encode(video[..., :12, :])
    with pytest.raises(ValueError, match=r"\(B, F, 3, h, w\)"):
        vae.decode(latents.transpose(1, 2))
    with pytest.raises(ValueError, match=r"cannot go on from a cache of \(1, 16, 24\)"):
        vae.encode(video[..., :4, :, :16], vae.encode(video[:, :1])[1])
    with pytest.raises(ValueError, match=r"cannot go on from a cache of \(1, 2, 3\)"):
        vae.decode(latents[..., :2], vae.decode(latents)[1])


def test_attention_blocks_stand_where_the_configuration_says(video: Tensor, latents: Tensor) -> None:
    vae = make_vae(replace(SMALL, attn_scales=(0.5,)))
    assert "encoder.downsamples.3.to_qkv.weight" in vae.state_dict()  # after the first block at half size
    assert "decoder.upsamples.4.to_qkv.weight" in vae.state_dict()
    torch.testing.assert_close(stream(vae.encode, video, (9, 12)), vae.encode(video)[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(
        stream(vae.decode, latents, (3, 3)), vae.decode(latents)[0], rtol=0, atol=1e-12
    )


def test_keys_and_shapes_are_those_of_the_published_file() -> None:
    published = json.loads(KEYS.read_text())
    with torch.device("meta"):
        vae = WanVAE(WanVaeConfig.from_published(published["config"]))
    assert {key: list(v.shape) for key, v in vae.state_dict().items()} == published["keys"]
    assert sum(v.numel() for v in vae.state_dict().values()) == published["n_params"] == 126_892_531


def test_the_light_autoencoder_is_a_quarter_as_wide_with_the_same_latents() -> None:
    with torch.device("meta"):
        full, light = (WanVAE(config).state_dict() for config in (WanVaeConfig(), WanVaeConfig(dim=24)))
    assert full.keys() == light.keys()
    for key, wide in full.items():
        outside = (3, 16, 32)  # colours, latent channels, mean and variance: not the network's own width
        expected = [size // 4 if size % 4 == 0 and size not in outside else size for size in wide.shape]
        assert list(light[key].shape) == expected, key


def test_a_module_of_the_meta_device_is_completed_by_loading(video: Tensor) -> None:
    weights = {key: value.float() for key, value in make_vae().state_dict().items()}
    with torch.device("meta"):
        vae = WanVAE(SMALL)
    vae.load_state_dict(weights, assign=True)
    torch.testing.assert_close(vae.mean.flatten(), torch.tensor(SMALL.mean))
    expected, _ = make_vae().encode(video[:, :5])
    torch.testing.assert_close(vae.encode(video[:, :5].float())[0].double(), expected, rtol=1e-4, atol=1e-4)


def test_bfloat16_is_close(video: Tensor, latents: Tensor) -> None:
    wide = replace(SMALL, dim=8)  # norms over two channels would blow rounding up
    exact, rough = make_vae(wide), make_vae(wide).bfloat16()
    for direction, x in (("encode", video), ("decode", latents)):
        wanted, _ = getattr(exact, direction)(x)
        got, cache = getattr(rough, direction)(x.bfloat16())
        assert got.dtype == torch.bfloat16 and all(t.dtype == torch.bfloat16 for t in cache.past)
        assert (got.double() - wanted).norm() / wanted.norm() < 0.05


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ConfigError, match="mean and std must hold z_dim = 4 values, got 16 and 16"):
        WanVaeConfig(z_dim=4)
    with pytest.raises(ConfigError, match="temperal_downsample must hold 1 values"):
        WanVaeConfig(dim_mult=(1, 2))
    assert WanVaeConfig().mean == WAN_MEAN and len(WAN_MEAN) == 16
    assert (SMALL.time_stride, SMALL.space_stride, SMALL.latent_channels) == (4, 8, 3)


def test_other_time_strides_follow_the_same_rule(video: Tensor) -> None:
    vae = make_vae(replace(SMALL, temperal_downsample=(True, False, False)))
    offline, _ = vae.encode(video)
    assert offline.shape[1] == 11
    torch.testing.assert_close(stream(vae.encode, video, (3, 2, 16)), offline, rtol=0, atol=1e-12)
    frames, _ = vae.decode(offline)
    assert frames.shape == video.shape
    torch.testing.assert_close(stream(vae.decode, offline, (2, 9)), frames, rtol=0, atol=1e-12)


def test_the_cache_is_two_frames_of_every_time_convolution() -> None:
    """24 for the published encoder, 32 for the decoder; one frame where time is halved."""
    vae = make_vae(replace(SMALL, num_res_blocks=2))
    _, cache = vae.encode(torch.zeros(1, 1, 3, 16, 16, dtype=torch.float64))
    assert isinstance(cache, EncoderCache) and len(cache.past) == 24
    assert sorted({tensor.shape[2] for tensor in cache.past}) == [1, 2]
    _, decoder = vae.decode(torch.zeros(1, 1, 3, 2, 2, dtype=torch.float64))
    assert len(decoder.past) == 32 and {tensor.shape[2] for tensor in decoder.past} == {2}
