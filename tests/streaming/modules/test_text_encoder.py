import json
from pathlib import Path

import pytest
import torch
from transformers import ByT5Tokenizer

from streaming.config import TextConfig
from streaming.modules.text_encoder import (
    NarrowLinear,
    TextEncoder,
    clean_prompt,
    to_transformers_keys,
    to_wan_keys,
)

KEYS = Path(__file__).parents[2] / "parity" / "keys"
SMALL = TextConfig(vocab_size=384, d_kv=8, d_ff=40, num_layers=2, num_heads=2)
PROMPTS = ["a statue of molten gold", "", "snow"]


def make_encoder() -> TextEncoder:
    torch.manual_seed(0)
    encoder = TextEncoder(SMALL, text_len=32, dim=24, tokenizer=ByT5Tokenizer())
    return encoder.eval().requires_grad_(False)


def published(name: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((KEYS / f"{name}.json").read_text())["keys"]
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def test_names_translate_both_ways_as_published() -> None:
    wan, theirs = published("umt5_xxl_encoder_wan"), published("umt5_xxl_encoder_transformers")
    assert shapes(to_transformers_keys(wan)) == shapes(theirs)
    assert shapes(to_wan_keys(theirs)) == shapes(wan)


def test_the_full_size_module_has_the_published_tensors() -> None:
    config = TextConfig(vocab_size=256384, d_kv=64, d_ff=10240, num_layers=24, num_heads=64)
    with torch.device("meta"):
        encoder = TextEncoder(config, dim=4096, text_len=512, tokenizer=ByT5Tokenizer())
    assert shapes(encoder.model.state_dict()) == shapes(published("umt5_xxl_encoder_transformers"))


def test_embeddings_fill_text_len_with_zero_rows_past_each_prompt() -> None:
    encoder = make_encoder()
    embeddings = encoder.encode(PROMPTS)
    assert embeddings.shape == (3, 32, 24)
    for row, prompt in zip(embeddings, PROMPTS, strict=True):
        length = len(prompt) + 1  # a byte a token, and the end token: an empty prompt has one row
        assert (row[length:] == 0).all()
        assert (row[:length].abs().amax(dim=1) > 0).all()


def test_a_prompt_does_not_depend_on_its_batch_or_its_padding() -> None:
    encoder = make_encoder()
    together = encoder.encode(PROMPTS)
    for row, prompt in zip(together, PROMPTS, strict=True):
        torch.testing.assert_close(encoder.encode([prompt])[0], row, rtol=1e-4, atol=1e-6)
    tokens = encoder.tokenizer(PROMPTS, padding="max_length", max_length=32, return_tensors="pt")
    padded = encoder.encode_ids(tokens["input_ids"], tokens["attention_mask"])
    torch.testing.assert_close(padded, together, rtol=1e-4, atol=1e-6)


def test_a_long_prompt_is_cut_to_text_len() -> None:
    encoder = make_encoder()
    embeddings = encoder.encode(["a" * 100])
    assert embeddings.shape == (1, 32, 24)
    assert (embeddings[0, -1] != 0).any()


def test_word_order_matters() -> None:
    """The position bias is there: without it, the same tokens in another order would give the same sum."""
    encoder = make_encoder()
    one, other = encoder.encode(["ab cd", "cd ab"]).sum(dim=1)
    assert (one - other).abs().max() > 1e-4


def test_weights_come_by_wan_names_into_a_module_of_the_meta_device() -> None:
    source = make_encoder()
    with torch.device("meta"):
        encoder = TextEncoder(SMALL, text_len=32, dim=24, tokenizer=ByT5Tokenizer())
    encoder.load_wan_weights(to_wan_keys(source.model.state_dict()), dtype=torch.float32)
    assert torch.equal(encoder.eval().encode(PROMPTS), source.encode(PROMPTS))
    assert encoder.model.shared.weight is encoder.model.encoder.embed_tokens.weight


def test_plain_fp8_weights_stay_fp8_and_compute_in_the_model_dtype() -> None:
    source = {key: value.bfloat16() for key, value in to_wan_keys(make_encoder().model.state_dict()).items()}
    kept = ("norm", "embedding")
    stored = {
        key: value if any(word in key for word in kept) else value.to(torch.float8_e4m3fn)
        for key, value in source.items()
    }
    narrow, wide = make_encoder(), make_encoder()
    narrow.load_wan_weights(stored, dtype=torch.bfloat16)
    wide.load_wan_weights({key: value.bfloat16() for key, value in stored.items()}, dtype=torch.bfloat16)
    matrices = [module for module in narrow.modules() if isinstance(module, NarrowLinear)]
    assert len(matrices) == 7 * SMALL.num_layers
    assert {matrix.stored.dtype for matrix in matrices} == {torch.float8_e4m3fn}
    assert narrow.model.shared.weight.dtype == torch.bfloat16
    embeddings = narrow.encode(PROMPTS)
    assert embeddings.dtype == torch.bfloat16
    assert torch.equal(embeddings, wide.encode(PROMPTS))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("blocks.1.ffn.fc2.weight"), "block.1.layer.1.DenseReluDense.wo.weight"),
        (lambda state: state.update({"blocks.0.attn.q.scale_weight": torch.ones(1)}), "scale_weight"),
        (lambda state: state.update({"norm.weight": torch.ones(7)}), "final_layer_norm.weight"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_wrong_files_name_the_key(change, named: str) -> None:
    state = to_wan_keys(make_encoder().model.state_dict())
    change(state)
    with pytest.raises(RuntimeError, match=named):
        make_encoder().load_wan_weights(state, dtype=torch.float32)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a  cat\n\ton  ice ", "a cat on ice"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("<i> &amp;lt;b", "<i> <b"),
        ("schÃ¶n", "schön"),
        ("Case STAYS", "Case STAYS"),
        (" ", ""),
    ],
)
def test_prompts_are_cleaned(raw: str, clean: str) -> None:
    assert clean_prompt(raw) == clean


def test_a_cleaned_prompt_is_what_is_encoded() -> None:
    encoder = make_encoder()
    assert torch.equal(encoder.encode([" a  cat&amp;"]), encoder.encode(["a cat&"]))


def test_nothing_to_encode_is_an_error() -> None:
    encoder = make_encoder()
    with pytest.raises(ValueError, match="at least one prompt"):
        encoder.encode([])
    encoder.tokenizer = lambda texts, **_: {
        "input_ids": torch.zeros(len(texts), 0, dtype=torch.long),
        "attention_mask": torch.zeros(len(texts), 0, dtype=torch.long),
    }
    with pytest.raises(ValueError, match="no token for"):
        encoder.encode([""])
