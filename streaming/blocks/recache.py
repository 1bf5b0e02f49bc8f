"""Clean passes: a stream remembers the keys and values of finished latents at timestep 0, without hints."""

from collections.abc import Callable

from torch import Tensor

from streaming.modules.causal_model import TextContext
from streaming.modules.kv_cache import RingKVCache

# As `CausalWanModel.forward`: latents, timesteps, context, cache, start.
Forward = Callable[[Tensor, Tensor, TextContext, RingKVCache, int], Tensor]


def write_clean_kv(
    model: Forward,
    latents: Tensor,
    context: TextContext,
    cache: RingKVCache,
    start: int,
) -> None:
    """Overwrite the noisy keys and values of `latents` (B, F, C, H, W) with clean ones.

    Source: LongLive's cache update after the last denoising step (context noise 0).
    """
    model(latents, latents.new_zeros(latents.shape[:2]), context, cache, start)


def recache(
    model: Forward,
    recent: Tensor,
    context: TextContext,
    cache: RingKVCache,
) -> None:
    """Recompute the window under a new prompt: continuity without the old prompt's pull.

    `recent` (B, n, C, H, W) are the newest clean latents of the stream, n as many as the window holds (or
    the stream has). One forward without a mask: every latent sees all others. The sink of a stream that has
    left it behind keeps the old prompt's keys, and the oldest latents take part as queries only. Source:
    LongLive 1.0 with its `global_sink`.
    """
    if recent.shape[1] != cache.filled:
        raise ValueError(f"recache needs the {cache.filled} latents of the window, got {recent.shape[1]}")
    if cache.end:
        write_clean_kv(model, recent, context, cache, cache.end - cache.filled)
