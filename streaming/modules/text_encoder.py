"""umT5 text encoder as Wan uses it: `transformers.UMT5EncoderModel` behind Wan's cleaning, padding and key
names.

Published files name their tensors Wan's way (`blocks.0.attn.q.weight`); the module inside has transformers'
names. `to_transformers_keys` and `to_wan_keys` translate. In the plain fp8 file the matrices are fp8 without
scales: they stay so in memory (6.7 GB instead of 11.4) and are widened one at a time for their
multiplication.
"""

import html
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5Config, UMT5EncoderModel

from streaming.config import TextConfig

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)

_TOP_KEYS = {
    "token_embedding.weight": "shared.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
}
_TIED_KEY = "encoder.embed_tokens.weight"  # transformers' second name of shared.weight
_LAYER_KEYS = {  # below blocks.N / encoder.block.N.layer
    "norm1.weight": "0.layer_norm.weight",
    **{f"attn.{name}.weight": f"0.SelfAttention.{name}.weight" for name in "qkvo"},
    "pos_embedding.embedding.weight": "0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "1.layer_norm.weight",
    "ffn.gate.0.weight": "1.DenseReluDense.wi_0.weight",  # the activated half
    "ffn.fc1.weight": "1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "1.DenseReluDense.wo.weight",
}
_LAYER_KEYS_BACK = {theirs: wan for wan, theirs in _LAYER_KEYS.items()}


def to_transformers_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan's key names -> those of UMT5EncoderModel, the tied embedding under both of its names.

    Unknown keys keep their name, so that loading reports them.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = re.fullmatch(r"blocks\.(\d+)\.(.+)", key)
        if layer and layer[2] in _LAYER_KEYS:
            key = f"encoder.block.{layer[1]}.layer.{_LAYER_KEYS[layer[2]]}"
        renamed[_TOP_KEYS.get(key, key)] = value
    if "shared.weight" in renamed:
        renamed[_TIED_KEY] = renamed["shared.weight"]
    return renamed


def to_wan_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Key names of UMT5EncoderModel -> Wan's; the inverse of `to_transformers_keys`."""
    top = {theirs: wan for wan, theirs in _TOP_KEYS.items()}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = re.fullmatch(r"encoder\.block\.(\d+)\.layer\.(.+)", key)
        if layer and layer[2] in _LAYER_KEYS_BACK:
            key = f"blocks.{layer[1]}.{_LAYER_KEYS_BACK[layer[2]]}"
        if key != _TIED_KEY:
            renamed[top.get(key, key)] = value
    return renamed


def clean_prompt(text: str) -> str:
    """Repaired characters, no HTML entities, single spaces. Case stays."""
    text = html.unescape(html.unescape(_repair(text)))  # twice: "&amp;lt;" occurs in scraped captions
    return re.sub(r"\s+", " ", text).strip()


def _repair(text: str) -> str:
    try:
        import ftfy
    except ModuleNotFoundError:
        if not text.isascii():  # in ASCII there are no broken characters to repair
            raise
        return text
    return ftfy.fix_text(text)


class NarrowLinear(nn.Module):
    """Linear layer without bias whose weight is stored narrower (fp8) than it computes."""

    weight = None  # not a tensor on purpose: transformers casts activations to the type of a layer's `weight`

    def __init__(self, stored: Tensor) -> None:
        super().__init__()
        self.stored = nn.Parameter(stored, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.stored.to(x.dtype))


class TextEncoder(nn.Module):
    """Prompts -> embeddings that the transformer attends to.

    encoder = TextEncoder(config, dim=4096, text_len=512, tokenizer=tokenizer)    # may be on the meta device
    encoder.load_wan_weights(state_dict, dtype=torch.bfloat16)
    embeddings = encoder.encode(["a statue of molten gold"])
    """

    def __init__(
        self,
        config: TextConfig,
        *,
        dim: int,
        text_len: int,
        tokenizer: PreTrainedTokenizerBase,
        num_buckets: int = 32,
        max_distance: int = 128,
    ) -> None:
        """`dim` and `text_len` are the transformer's `text_dim` and `text_len`; `tokenizer` adds the end
        token.

        `num_buckets` and `max_distance` are those of the relative position bias, which every layer has its
        own of.
        """
        super().__init__()
        self.text_len = text_len
        self.tokenizer = tokenizer
        self.model = UMT5EncoderModel(
            UMT5Config(
                vocab_size=config.vocab_size,
                d_model=dim,
                d_kv=config.d_kv,
                d_ff=config.d_ff,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                relative_attention_num_buckets=num_buckets,
                relative_attention_max_distance=max_distance,
                layer_norm_epsilon=1e-6,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                is_encoder_decoder=False,
            )
        )

    def load_wan_weights(self, state: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
        """Take over `state` (Wan's names, no copy where the type fits); works on a module of the meta device.

        fp8 matrices stay fp8; everything else becomes `dtype`. Raises RuntimeError naming missing, unexpected
        and misshapen keys.
        """
        wanted = {key: v if v.dtype in FP8 and v.ndim == 2 else v.to(dtype) for key, v in state.items()}
        self.model.load_state_dict(to_transformers_keys(wanted), assign=True)
        self.model.tie_weights()
        for parent in list(self.model.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, nn.Linear) and layer.weight.dtype in FP8:
                    setattr(parent, name, NarrowLinear(layer.weight))
        self.requires_grad_(False)

    def encode(self, prompts: list[str]) -> Tensor:
        """Embeddings (B, text_len, dim) in the model's dtype; rows past each prompt are zero.

        Prompts are cleaned and cut to `text_len` tokens. Raises ValueError when there is nothing to encode.
        """
        if not prompts:
            raise ValueError("prompts must hold at least one prompt, got none")
        tokens = self.tokenizer(
            [clean_prompt(prompt) for prompt in prompts],
            padding=True,  # to the longest only: masked positions change no other, and attention is quadratic
            truncation=True,
            max_length=self.text_len,
            return_attention_mask=True,
            return_tensors="pt",
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        if ids.shape[1] == 0:
            raise ValueError(f"the tokenizer gave no token for {prompts!r}; it must add an end token")
        device = self.model.shared.weight.device
        embeddings = self.encode_ids(ids.to(device), mask.to(device))
        return F.pad(embeddings, (0, 0, 0, self.text_len - ids.shape[1]))

    def encode_ids(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask (1 = token, 0 = padding), both (B, L) int64 -> (B, L, dim), masked rows zero."""
        return self.hidden_states(ids, mask) * mask[..., None].to(self.model.shared.weight.dtype)

    def hidden_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As `encode_ids`, but masked rows hold what the network makes of them, which means nothing."""
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state
