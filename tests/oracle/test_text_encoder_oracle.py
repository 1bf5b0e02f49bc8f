"""The text encoder against diffusers' Wan pipeline and transformers' model: cleaning, padding, zero rows."""

from types import SimpleNamespace

import pytest
import torch
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from streaming.config import TextConfig
from streaming.modules.text_encoder import TextEncoder, clean_prompt, to_wan_keys

pytestmark = pytest.mark.oracle

PROMPTS = ["a statue of molten gold", "", "  salt &amp;amp; \n pepper ", "schÃ¶n", "x" * 60]
TEXT_LEN = 48


def test_embeddings_agree_with_diffusers_and_transformers() -> None:
    from diffusers import WanPipeline

    torch.manual_seed(0)
    config = UMT5Config(vocab_size=384, d_model=24, d_kv=8, d_ff=40, num_layers=3, num_heads=2)
    theirs = UMT5EncoderModel(config).eval().requires_grad_(False)
    pipeline = SimpleNamespace(
        text_encoder=theirs, tokenizer=ByT5Tokenizer(), _execution_device=torch.device("cpu")
    )
    wanted = WanPipeline._get_t5_prompt_embeds(pipeline, PROMPTS, max_sequence_length=TEXT_LEN)

    sizes = TextConfig(vocab_size=384, d_kv=8, d_ff=40, num_layers=3, num_heads=2)
    ours = TextEncoder(sizes, text_len=TEXT_LEN, dim=24, tokenizer=ByT5Tokenizer()).eval()
    ours.load_wan_weights(to_wan_keys(theirs.state_dict()), dtype=torch.float32)
    torch.testing.assert_close(ours.encode(PROMPTS), wanted, rtol=1e-4, atol=1e-5)


def test_prompts_are_cleaned_as_diffusers_cleans_them() -> None:
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    for prompt in PROMPTS:
        assert clean_prompt(prompt) == prompt_clean(prompt)
