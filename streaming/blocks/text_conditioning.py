"""Prompts in any of their forms -> the text context of the transformer, cached by prompt."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from streaming.api import WeightedPrompts
from streaming.modules.causal_model import CausalWanModel, TextContext

Prompts = str | Sequence[str] | Sequence[Mapping[str, object]] | WeightedPrompts

CONTEXTS_KEPT = 4  # 141 MB each at LongLive's size
EMBEDDINGS_KEPT = 32  # 4 MB each at LongLive's size


def parse_prompts(prompts: Prompts) -> WeightedPrompts:
    """A text, several texts, pairs or `{"text", "weight"}` items -> (text, weight) pairs whose weights sum
    to 1.

    Only the ratio of weights counts; all zero means equal shares. Raises ValueError naming the item.
    """
    items = [prompts] if isinstance(prompts, str) else list(prompts)
    if not items:
        raise ValueError("prompts must hold at least one prompt, got none")
    pairs: list[tuple[str, float]] = []
    for index, item in enumerate(items):
        match item:
            case str():
                text, weight = item, 1.0
            case (text, weight):
                pass
            case _:
                text, weight = item.get("text"), item.get("weight", 1.0)
        if not isinstance(text, str):
            raise ValueError(f"prompts[{index}] must be a text or {{'text', 'weight'}}, got {item!r}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ValueError(f"prompts[{index}].weight must be a finite number, 0 or more, got {weight!r}")
        pairs.append((text, float(weight)))
    total = sum(weight for _, weight in pairs)
    return tuple((text, weight / total if total else 1 / len(pairs)) for text, weight in pairs)


def blend(embeddings: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted sum of (text_len, E) embeddings, scaled back to the weighted mean of their norms (as scope
    does).

    Without the scaling, a blend of unlike prompts is shorter than any prompt the model has seen.
    """
    mixed = sum(weight * embedding for weight, embedding in zip(weights, embeddings, strict=True))
    assert isinstance(mixed, Tensor)
    norm = sum(weight * embedding.norm() for weight, embedding in zip(weights, embeddings, strict=True))
    return mixed if len(embeddings) == 1 else mixed * (norm / mixed.norm().clamp_min(1e-8))


class TextConditioning:
    """Shared by all sessions: the same prompt is encoded once."""

    def __init__(self, encode: Callable[[list[str]], Tensor], transformer: CausalWanModel) -> None:
        """`encode` maps prompts to embeddings (B, text_len, text_dim), rows past the prompt zero."""
        self._encode = encode
        self._transformer = transformer
        self._embedding = lru_cache(EMBEDDINGS_KEPT)(self._make_embedding)
        self._context = lru_cache(CONTEXTS_KEPT)(self._make_context)

    @torch.inference_mode()
    def __call__(self, prompts: WeightedPrompts) -> TextContext:
        """Cross-attention keys and values of `prompts`, a result of `parse_prompts`."""
        return self._context(prompts)

    @torch.inference_mode()
    def prefetch(self, texts: Iterable[str]) -> None:
        """Encode `texts` ahead of the call that needs them; how they are weighted comes with the call."""
        for text in texts:
            self._embedding(text)

    @torch.inference_mode()
    def embedding(self, prompts: WeightedPrompts) -> Tensor:
        """(text_len, E): what `prompts` say before the transformer's layers make keys and values of it."""
        return blend([self._embedding(text) for text, _ in prompts], [weight for _, weight in prompts])

    @torch.inference_mode()
    def context_of(self, embedding: Tensor) -> TextContext:
        """Keys and values of an embedding (text_len, E) that no prompt has; not kept."""
        return self._transformer.encode_text(embedding[None])

    def _make_embedding(self, text: str) -> Tensor:
        return self._encode([text])[0].to(self._transformer.patch_embedding.weight.dtype)

    def _make_context(self, prompts: WeightedPrompts) -> TextContext:
        return self.context_of(self.embedding(prompts))
