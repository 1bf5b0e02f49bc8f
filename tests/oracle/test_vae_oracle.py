"""The Wan autoencoder against diffusers' implementation, on random small models."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streaming.modules.wan_vae import WanVAE, WanVaeConfig

pytestmark = pytest.mark.oracle

SMALL = WanVaeConfig(dim=4, z_dim=3, mean=(0.1, -0.2, 0.3), std=(1.5, 0.5, 2.0))
CONFIGS = {
    "as published, smaller": SMALL,
    "one residual block": replace(SMALL, num_res_blocks=1, dim=6),
    "three levels": replace(SMALL, dim_mult=(1, 2, 4), temperal_downsample=(True, True)),
    "other widths": replace(SMALL, dim_mult=(1, 3, 3, 2), dim=4),
}


def diffusers_name(key: str, config: WanVaeConfig) -> str:
    """Our (upstream's) key -> diffusers' key."""
    parts = key.split(".")
    if parts[0] in ("conv1", "conv2"):
        return ".".join([{"conv1": "quant_conv", "conv2": "post_quant_conv"}[parts[0]], *parts[1:]])
    side, place, rest = parts[0], parts[1], parts[2:]
    if place == "conv1":
        return ".".join([side, "conv_in", *rest])
    if place == "head":
        return ".".join([side, {"0": "norm_out", "2": "conv_out"}[rest[0]], *rest[1:]])
    index, rest = int(rest[0]), rest[1:]
    if place == "middle":
        block = ("resnets.0", "attentions.0", "resnets.1")[index]
        return ".".join([side, "mid_block", block, *_inside(rest)])
    if place == "downsamples":
        return ".".join([side, "down_blocks", str(index), *_inside(rest)])
    level, index = divmod(index, config.num_res_blocks + 2)
    block = f"resnets.{index}" if index <= config.num_res_blocks else "upsamplers.0"
    return ".".join([side, "up_blocks", str(level), block, *_inside(rest)])


def _inside(rest: list[str]) -> list[str]:
    if rest[0] == "residual":
        return [{"0": "norm1", "2": "conv1", "3": "norm2", "6": "conv2"}[rest[1]], *rest[2:]]
    return ["conv_shortcut" if rest[0] == "shortcut" else rest[0], *rest[1:]]


def make_pair(config: WanVaeConfig):
    """The same random weights in both."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    ours = WanVAE(config).eval().requires_grad_(False)
    for name, parameter in ours.named_parameters():
        if "gamma" in name:
            parameter.uniform_(0.5, 1.5)
    theirs = AutoencoderKLWan(
        base_dim=config.dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        attn_scales=list(config.attn_scales),
        temperal_downsample=list(config.temperal_downsample),
        latents_mean=list(config.mean),
        latents_std=list(config.std),
    )
    renamed = {diffusers_name(key, config): value for key, value in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    return ours, theirs.eval().requires_grad_(False)


def normalised(latents: Tensor, config: WanVaeConfig) -> Tensor:
    """diffusers leaves this to its pipelines."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1, 1) for values in (config.mean, config.std))
    return (latents - mean) / std


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_encode_and_decode_agree_with_diffusers(config: WanVaeConfig) -> None:
    ours, theirs = make_pair(config)
    video = torch.rand(1, 17, 3, 16, 24, generator=torch.manual_seed(1)) * 2 - 1
    latents, _ = ours.encode(video)
    wanted = normalised(theirs.encode(video.transpose(1, 2)).latent_dist.mode(), config)
    torch.testing.assert_close(latents.transpose(1, 2), wanted, rtol=1e-4, atol=1e-5)

    frames, _ = ours.decode(latents)
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1, 1) for values in (config.mean, config.std))
    shown = theirs.decode(wanted * std + mean).sample
    torch.testing.assert_close(frames.transpose(1, 2).clamp(-1, 1), shown, rtol=1e-4, atol=5e-5)


def test_a_stream_of_chunks_agrees_with_diffusers_in_one_go() -> None:
    ours, theirs = make_pair(SMALL)
    video = torch.rand(1, 21, 3, 16, 16, generator=torch.manual_seed(2)) * 2 - 1
    encoder = decoder = None
    latents, frames = [], []
    for chunk in video.split([9, 12], dim=1):
        part, encoder = ours.encode(chunk, encoder)
        shown, decoder = ours.decode(part, decoder)
        latents.append(part)
        frames.append(shown)
    features = theirs.encode(video.transpose(1, 2)).latent_dist.mode()
    wanted = normalised(features, SMALL)
    torch.testing.assert_close(torch.cat(latents, 1).transpose(1, 2), wanted, rtol=1e-4, atol=1e-5)
    shown = theirs.decode(features).sample
    torch.testing.assert_close(torch.cat(frames, 1).transpose(1, 2).clamp(-1, 1), shown, rtol=1e-4, atol=5e-5)


def test_attention_between_the_levels_agrees_with_diffusers() -> None:
    """Its encoder has them, its decoder does not."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanEncoder3d

    config = replace(SMALL, attn_scales=(0.5, 0.25))
    torch.manual_seed(0)
    ours = WanVAE(config).eval().requires_grad_(False)
    theirs = WanEncoder3d(
        dim=config.dim,
        z_dim=config.z_dim * 2,
        attn_scales=list(config.attn_scales),
        temperal_downsample=list(config.temperal_downsample),
    )
    state = {
        diffusers_name(f"encoder.{key}", config).removeprefix("encoder."): value
        for key, value in ours.encoder.state_dict().items()
    }
    theirs.load_state_dict(state)
    frame = torch.rand(1, 3, 1, 16, 24) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours.encoder(frame, None)[0], theirs(frame), rtol=1e-4, atol=1e-5)
