"""Writes models in the layouts of the published files, for tests of loading."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import ByT5Tokenizer

from streaming.checkpoints.models import Models
from streaming.modules.text_encoder import to_wan_keys


def write_published_files(models: Models, folder: Path) -> dict[str, str]:
    """Write `models` into `folder`; returns the path keys of PipelineConfig.

    LongLive's base in float32 below `generator`, a rank-4 LoRA below `generator_lora` (of zero updates, so
    the models stay what they are), the VACE module in bfloat16, the VAE bare, umT5 in plain fp8.
    """
    state = {key: value.cpu() for key, value in models.transformer.state_dict().items()}
    main = {f"model.{key}": value.float() for key, value in state.items() if not key.startswith("vace_")}
    torch.save({"generator": main}, folder / "longlive_base.pt")
    branch = {key: value.bfloat16() for key, value in state.items() if key.startswith("vace_")}
    save_file(branch, folder / "vace.safetensors")
    torch.save({"generator_lora": _lora_without_effect(models.transformer)}, folder / "lora.pt")
    torch.save({k: v.cpu().float() for k, v in models.autoencoder.state_dict().items()}, folder / "vae.pth")
    text = to_wan_keys(models.text_encoder.model.state_dict())
    save_file(
        {key: _fp8_like_published(key, value) for key, value in text.items()}, folder / "umt5.safetensors"
    )
    ByT5Tokenizer().save_pretrained(str(folder / "tokenizer"))
    names = {
        "generator_path": "longlive_base.pt",
        "lora_path": "lora.pt",
        "vace_path": "vace.safetensors",
        "text_encoder_path": "umt5.safetensors",
        "tokenizer_path": "tokenizer",
        "vae_path": "vae.pth",
    }
    return {key: str(folder / name) for key, name in names.items()}


def _lora_without_effect(transformer: nn.Module) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            out[f"base_model.model.{name}.lora_A.weight"] = torch.randn(4, module.in_features)
            out[f"base_model.model.{name}.lora_B.weight"] = torch.zeros(module.out_features, 4)
    return out


def _fp8_like_published(key: str, value: Tensor) -> Tensor:
    """Matrices of attention and feed-forward in fp8, everything else in bfloat16."""
    is_matrix = ".attn." in key or ".ffn." in key
    return value.cpu().to(torch.float8_e4m3fn if is_matrix else torch.bfloat16).contiguous()
