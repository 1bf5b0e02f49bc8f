"""Presets of the smallest networks that a pipeline can be built of."""

from dataclasses import replace

import pytest
import torch

from streaming.checkpoints.presets import PRESETS, UNTRAINED, AutoencoderConfig, Preset
from streaming.config import TextConfig, WanConfig
from streaming.modules.taehv import TAEHV
from streaming.parallel.ranks import ALONE, Ranks
from streaming.pipeline import LongLivePipeline


def tiny_preset(name: str, autoencoder: AutoencoderConfig, *, height: int = 32, width: int = 32) -> Preset:
    """Two transformer layers with one of the VACE branch; its files are not among the published ones."""
    return Preset(
        name=name,
        transformer=WanConfig(
            dim=24,
            ffn_dim=40,
            num_heads=2,
            num_layers=2,
            freq_dim=16,
            text_dim=16,
            text_len=8,
            vace_layers=(0,),
        ),
        autoencoder=autoencoder,
        text=TextConfig(vocab_size=384, d_kv=4, d_ff=16, num_layers=1, num_heads=2),
        height=height,
        width=width,
    )


# The built-in model in everything but width, depth and weights: a chunk of it takes a third of the time.
NARROW = replace(
    UNTRAINED,
    transformer=replace(
        UNTRAINED.transformer, dim=48, ffn_dim=96, num_heads=2, num_layers=2, vace_layers=(0,)
    ),
    autoencoder=replace(UNTRAINED.autoencoder, encoder_channels=(8,) * 4, decoder_channels=(8,) * 4),
)


def narrow_pipeline(
    preset: Preset = NARROW, dtype: torch.dtype = torch.float32, ranks: Ranks = ALONE
) -> LongLivePipeline:
    """On a CPU, of 32 x 48 pixels, with what `make_sensitive` makes of drawn weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, preset.name, replace(preset, height=32, width=48))
        config = {"model_config": {"base_model_name": preset.name}}
        pipeline = LongLivePipeline(config, torch.device("cpu"), dtype, ranks)
    make_sensitive(pipeline)
    return pipeline


@torch.no_grad()
def make_sensitive(pipeline: LongLivePipeline) -> None:
    """Scale drawn weights until prompt, strengths and controls show in most pixels, as with trained ones.

    As drawn, networks so narrow answer with their biases: another prompt moves one pixel in twenty.
    """
    transformer, autoencoder = pipeline.models.transformer, pipeline.models.autoencoder
    assert isinstance(autoencoder, TAEHV)
    for matrix in (each for each in transformer.parameters() if each.ndim > 1):
        matrix.mul_(3)
    for kernel in (each for each in autoencoder.encoder.parameters() if each.ndim > 1):
        kernel.mul_(2)
    noise = torch.rand(1, 9, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents, _ = autoencoder.encode(noise.to(pipeline.dtype), None)
    last = [each for each in autoencoder.encoder.parameters() if each.ndim > 1][-1]
    last.mul_(1 / latents.float().std(dim=(1, 3, 4)).mean())
