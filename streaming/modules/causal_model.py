"""Wan 2.1's transformer, made autoregressive: each chunk attends to itself and to a cache of the past.

State-dict keys are those of the published checkpoint. Source of the formulas: Wan 2.1 and LongLive 1.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from streaming.config import WanConfig, WindowConfig
from streaming.kernels.attention import AttentionKernel, attend
from streaming.modules.kv_cache import CacheSpan, RingKVCache, write_slots
from streaming.modules.rope import rotate, rotation
from streaming.parallel.ranks import ALONE, Grid, Ranks

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class TextContext:
    """Cross-attention keys and values of one prompt, per layer, each (B, text_len, N, D). Made once per
    prompt."""

    blocks: tuple[KeyValue, ...]
    vace_blocks: tuple[KeyValue, ...] = ()

    def tensors(self) -> list[Tensor]:
        """All of them, in an order that is always the same."""
        return [tensor for pair in (*self.blocks, *self.vace_blocks) for tensor in pair]

    def empty_like(self) -> "TextContext":
        """Room for another prompt's."""
        blocks, vace_blocks = (
            tuple((torch.empty_like(k), torch.empty_like(v)) for k, v in pairs)
            for pairs in (self.blocks, self.vace_blocks)
        )
        return TextContext(blocks, vace_blocks)


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """What all layers of one forward share."""

    tokens: Tensor  # (B, L, E) patch-embedded noisy latents; of several ranks this one's share
    time: Tensor  # (B, F, E) time embedding, for the head
    modulation: Tensor  # (B, F, 6, E) its projection, for the blocks
    grid: Grid  # latents, token rows, token columns, of all ranks
    rotation: Tensor  # (L, D/2, 2) float32: cosine and sine of `tokens`
    span: CacheSpan | None  # None: no memory, attention within these tokens only
    parts: "BlockParts"  # how each block is computed
    ranks: Ranks = ALONE  # who computes it together


def sinusoidal_embedding(timesteps: Tensor, dim: int) -> Tensor:
    """(..., dim) float64: cosines, then sines, of timestep * 10000^(-i / (dim/2)). Cast it, do not compute it
    low."""
    half = dim // 2
    frequencies = 10000.0 ** -(torch.arange(half, dtype=torch.float64, device=timesteps.device) / half)
    angles = timesteps.double()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (B, L, E) times 1 + scale plus shift, both (B, F, 1, E): one value per latent."""
    per_latent = x.unflatten(1, (shift.shape[1], -1))
    return (per_latent * (1 + scale) + shift).flatten(1, 2)


def gated(x: Tensor, gate: Tensor) -> Tensor:
    """x (B, L, E) times gate (B, F, 1, E)."""
    return (x.unflatten(1, (gate.shape[1], -1)) * gate).flatten(1, 2)


class RMSNorm(nn.Module):
    """Over the whole width, before heads are split. Internals are float32, the weight is applied after the
    cast."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Projections and norms that self- and cross-attention share."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, config.eps) if config.qk_norm else nn.Identity()
        self.norm_k = RMSNorm(dim, config.eps) if config.qk_norm else nn.Identity()

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))


class SelfAttention(Attention):
    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        self.qkv: nn.Module | None = None  # all three in one product, once packed

    @torch.no_grad()
    def pack(self) -> None:
        """One product in place of three. For running only: no longer the published state-dict keys."""
        parts = (self.q, self.k, self.v)
        weight, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
        packed = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        packed.weight, packed.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in (weight, bias))
        self.qkv = packed
        del self.q, self.k, self.v

    def project(self, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, L, E) -> queries and keys, both rotated, and values, each (B, L, N, D)."""
        q, k, v = (self.q(x), self.k(x), self.v(x)) if self.qkv is None else self.qkv(x).chunk(3, dim=-1)
        q, k = (rotate(self.heads(y), rotation) for y in (self.norm_q(q), self.norm_k(k)))
        return q, k, self.heads(v)


class CrossAttention(Attention):
    def keys_values(self, text: Tensor) -> KeyValue:
        """Embedded text (B, text_len, E) -> keys and values; they hold until the prompt changes."""
        return self.heads(self.norm_k(self.k(text))), self.heads(self.v(text))

    def forward(self, x: Tensor, context: KeyValue) -> Tensor:
        """All text positions are attended to, padding included: Wan was trained that way."""
        return self.o(attend(self.queries(x), *context).flatten(2))

    def queries(self, x: Tensor) -> Tensor:
        return self.heads(self.norm_q(self.q(x)))


class WanBlock(nn.Module):
    """One transformer layer. `norm3` is the affine norm before cross-attention, `norm2` the one before the
    FFN."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norm1 = nn.LayerNorm(dim, config.eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config)
        self.norm3 = nn.LayerNorm(dim, config.eps) if config.cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(config)
        self.norm2 = nn.LayerNorm(dim, config.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        x: Tensor,
        shared: ForwardPass,
        context: KeyValue,
        *,
        span: CacheSpan | None = None,
        layer: int = 0,
        hint: Tensor | None = None,
    ) -> Tensor:
        """x (B, L, E) -> (B, L, E). With a span, this layer's keys and values join the stream's memory, and
        attention is to all of it. `hint` (B, L, E) is VACE's residual, added to what the block gives."""
        parts, modulation, ranks = shared.parts, shared.modulation, shared.ranks
        if span is not None and ranks.size == 1:
            q = parts.self_attn_q(self, x, modulation, shared.rotation, *span.buffers(layer), span.slots)
            k, v = span.read(layer)
        else:
            q, k, v = parts.self_attn_qkv(self, x, modulation, shared.rotation)
            q, k, v = ranks.to_heads(shared.grid, q, k, v)
            if span is not None:
                span.write(layer, k, v)
                k, v = span.read(layer)
        attended = ranks.to_tokens(shared.grid, parts.attend(q, k, v), self.self_attn.num_heads)
        x, q = parts.cross_attn_q(self, x, attended, modulation)
        x = parts.cross_attn_out_ffn(self, x, _attend_to_text(parts.attend, q, context), modulation)
        return x if hint is None else x + hint


def _attend_to_text(attend: AttentionKernel, q: Tensor, context: KeyValue) -> Tensor:
    """q (B, L, N, D). To one text, a batch is one long row of queries: its keys need not be repeated."""
    if q.shape[0] == context[0].shape[0]:
        return attend(q, *context)
    return attend(q.flatten(0, 1)[None], *context).view(q.shape)


@dataclass(frozen=True, slots=True)
class BlockParts:
    """How blocks are computed: the kernel of attention, and what lies between one attention and the next.

    Functions of a block, whose weights they use; they have none and remember nothing. How far the ring is
    filled is the kernel's affair alone. These are the plain ones; `streaming.gpu.fusion` has others.
    """

    attend: AttentionKernel = attend
    kv_dtype: torch.dtype | None = None  # of keys and values that a stream remembers; None: the weights'

    def self_attn_qkv(
        self, block: WanBlock, x: Tensor, modulation: Tensor, rotation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, L, E), each (B, L, N, D); modulation (B, F, 6, E)."""
        shift, scale = (block.modulation[:, None] + modulation).chunk(6, dim=2)[:2]
        return block.self_attn.project(modulate(block.norm1(x), shift, scale), rotation)

    def self_attn_q(
        self,
        block: WanBlock,
        x: Tensor,
        modulation: Tensor,
        rotation: Tensor,
        ring_k: Tensor,
        ring_v: Tensor,
        slots: Tensor,
    ) -> Tensor:
        """As `self_attn_qkv`, with keys and values written into the layer's ring; returns the queries."""
        q, k, v = self.self_attn_qkv(block, x, modulation, rotation)
        write_slots(ring_k, ring_v, slots, k, v)
        return q

    def cross_attn_q(
        self, block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x (B, L, E) with what self-attention gave, (B, L, N, D), and its queries to the text, likewise."""
        gate = (block.modulation[:, None] + modulation).chunk(6, dim=2)[2]
        x = x + gated(block.self_attn.o(attended.flatten(2)), gate)
        return x, block.cross_attn.queries(block.norm3(x))

    def cross_attn_out_ffn(self, block: WanBlock, x: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
        """What follows attention to the text: x (B, L, E), attended (B, L, N, D) -> (B, L, E)."""
        shift, scale, gate = (block.modulation[:, None] + modulation).chunk(6, dim=2)[3:]
        x = x + block.cross_attn.o(attended.flatten(2))
        return x + gated(block.ffn(modulate(block.norm2(x), shift, scale)), gate)

    def scaled(self, hint: Tensor, scale: float | Tensor) -> Tensor:
        """A hint (B, L, E) by its strength, a number or a float32 scalar on the device. With strengths (B,)
        the batch is several hints of one stream, and the result (1, L, E) their sum. Rounded once."""
        wide = hint.to(torch.promote_types(hint.dtype, torch.float32))
        if isinstance(scale, Tensor) and scale.ndim:
            return (wide * scale.view(-1, 1, 1)).sum(0, keepdim=True).to(hint.dtype)
        return (wide * scale).to(hint.dtype)


PLAIN = BlockParts()


class Head(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        _, patch_h, patch_w = config.patch_size
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, config.out_dim * patch_h * patch_w)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = (self.modulation[:, None] + time[:, :, None]).chunk(2, dim=2)
        return self.head(modulate(self.norm(x), shift, scale))


class CausalWanModel(nn.Module):
    """Predicts the flow (noise - x0) of a chunk of latents, given the text and the stream's past.

    `parts` may be exchanged once the weights are there; a cache made before keeps its type. Of several
    `ranks` each has all of the weights, its share of the tokens and caches of its heads alone, and all of
    them run the same passes at the same time.
    """

    blocks: Sequence[WanBlock]

    def __init__(self, config: WanConfig, parts: BlockParts = PLAIN) -> None:
        super().__init__()
        self.config = config
        self.parts = parts
        self.ranks = ALONE
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, stride=config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        blocks = nn.ModuleList(WanBlock(config) for _ in range(config.num_layers))
        self.blocks = cast(Sequence[WanBlock], blocks)
        self.head = Head(config)

    def new_cache(self, window: WindowConfig, height: int, width: int, *, batch: int = 1) -> RingKVCache:
        """An empty memory for a stream of latents of `height` x `width`, on the device of the weights."""
        _, patch_h, patch_w = self.config.patch_size
        if height % patch_h or width % patch_w:
            raise ValueError(f"latent size must be a multiple of {(patch_h, patch_w)}, got {(height, width)}")
        weight = self.patch_embedding.weight
        return RingKVCache(
            window=window,
            num_layers=self.config.num_layers,
            num_heads=self.ranks.heads(self.config.num_heads),
            head_dim=self.config.head_dim,
            grid=(height // patch_h, width // patch_w),
            device=weight.device,
            dtype=self.parts.kv_dtype or weight.dtype,
            batch=batch,
        )

    def embed_text(self, text: Tensor) -> Tensor:
        """(B, up to text_len, text_dim) -> (B, text_len, E). Missing rows are zero before the MLP, and not
        after."""
        missing = self.config.text_len - text.shape[1]
        if missing < 0:
            raise ValueError(f"text has {text.shape[1]} rows, at most {self.config.text_len} are allowed")
        return self.text_embedding(nn.functional.pad(text, (0, 0, 0, missing)))

    def encode_text(self, text: Tensor) -> TextContext:
        """Text encoder output (B, up to text_len, text_dim) -> what cross-attention needs of it, for every
        forward."""
        embedded = self.embed_text(text)
        return TextContext(tuple(block.cross_attn.keys_values(embedded) for block in self.blocks))

    def embed_time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps (B, F), 0 ... 1000 -> embedding (B, F, E) and its projection (B, F, 6, E)."""
        sinusoid = sinusoidal_embedding(timestep, self.config.freq_dim).to(self.patch_embedding.weight.dtype)
        time = self.time_embedding(sinusoid)
        return time, self.time_projection(time).unflatten(-1, (6, -1))

    def embed_patches(self, x: Tensor) -> Tensor:
        """Latents (B, F, C, H, W) -> tokens (B, L, E), ordered latent, row, column."""
        return self.patch_embedding(x.transpose(1, 2)).flatten(2).transpose(1, 2).contiguous()

    def begin(
        self,
        x: Tensor,
        timestep: Tensor,
        cache: RingKVCache | None = None,
        start: int = 0,
        *,
        rewrite_sink: bool = False,
    ) -> ForwardPass:
        """Embed x (B, F, C, H, W) and its timesteps, and make room in the cache; what every layer then
        shares."""
        time, modulation = self.embed_time(timestep)
        _, patch_h, patch_w = self.config.patch_size
        grid = (x.shape[1], x.shape[3] // patch_h, x.shape[4] // patch_w)
        if cache is None:
            span, by = None, rotation(range(grid[0]), *grid[1:], self.config.head_dim, x.device)
        else:
            span = cache.begin(start, grid[0], rewrite_sink=rewrite_sink)
            by = span.rotation
        return self.shared(self.embed_patches(x), time, modulation, grid, by, span)

    def shared(
        self,
        tokens: Tensor,
        time: Tensor,
        modulation: Tensor,
        grid: Grid,
        rotation: Tensor,
        span: CacheSpan | None,
    ) -> ForwardPass:
        """`ForwardPass` of this rank, from all tokens (B, L, E) and their rotation (L, D/2, 2)."""
        tokens, rotation = self.ranks.scatter(tokens, grid), self.ranks.scatter(rotation, grid, dim=0)
        return ForwardPass(tokens, time, modulation, grid, rotation, span, self.parts, self.ranks)

    def run(self, shared: ForwardPass, context: TextContext, hints: Mapping[int, Tensor]) -> Tensor:
        """All blocks and the head; `hints` maps a block's index to the residual added after it."""
        tokens = shared.tokens
        for layer, block in enumerate(self.blocks):
            tokens = block(
                tokens, shared, context.blocks[layer], span=shared.span, layer=layer, hint=hints.get(layer)
            )
        patches = self.ranks.gather(self.head(tokens, shared.time), shared.grid)
        return self.unpatchify(patches, shared.grid)

    def unpatchify(self, patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """(B, L, patch_h * patch_w * C), channel last inside a patch -> (B, F, C, H, W)."""
        _, patch_h, patch_w = self.config.patch_size
        x = patches.unflatten(1, grid).unflatten(-1, (patch_h, patch_w, self.config.out_dim))
        return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(3, 4).flatten(4, 5)  # B F C (h ph) (w pw)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: TextContext,
        cache: RingKVCache | None = None,
        start: int = 0,
        *,
        rewrite_sink: bool = False,
    ) -> Tensor:
        """Noisy latents x (B, F, C, H, W) at timestep (B, F), 0 ... 1000 -> flow, same shape and dtype.

        `start` is the index of the first latent in the stream. Every forward with a cache stores its keys
        and values there, so that a later one at the same `start` replaces them. Without a cache attention is
        bidirectional over x alone (Wan 2.1 as published).
        """
        return self.run(self.begin(x, timestep, cache, start, rewrite_sink=rewrite_sink), context, {})
