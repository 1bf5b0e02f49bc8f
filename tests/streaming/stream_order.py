"""The ring as the list that it stands for."""

import torch
from torch import Tensor

from streaming.modules.kv_cache import RingKVCache


def stream_order(cache: RingKVCache, layer: int) -> tuple[Tensor, Tensor]:
    """Copies of the keys and values of `layer`, each (B, L, N, D): sink, then oldest to newest."""
    sink, ring, size = cache.window.sink_size, cache.window.ring_size, cache.tokens_per_latent
    oldest = cache.end - cache.filled
    places = [
        distance if distance < sink else sink + (oldest + distance - sink) % ring
        for distance in range(cache.filled)
    ]
    slots = torch.tensor(
        [place * size + token for place in places for token in range(size)], dtype=torch.int64
    )
    return cache.k[layer][:, slots.to(cache.k.device)], cache.v[layer][:, slots.to(cache.v.device)]
