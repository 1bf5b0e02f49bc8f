"""Preset of the smallest networks that a pipeline can be built of."""

from streaming.checkpoints.presets import AutoencoderConfig, Preset
from streaming.config import TextConfig, WanConfig


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
