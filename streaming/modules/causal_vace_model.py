"""VACE beside the causal transformer: a branch of blocks that turns a control video into hints.

Hint n is added after main block `vace_layers[n]`. The branch keeps no memory: it attends within the chunk.
Several controls of one stream are a batch in the branch, and their hints are added, each with its own scale.
Source: VACE (ali-vilab), the causal form as in LongLive with VACE (daydreamlive/scope), without its padding
error.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from streaming.config import ConfigError, WanConfig
from streaming.modules.causal_model import (
    PLAIN,
    BlockParts,
    CausalWanModel,
    ForwardPass,
    TextContext,
    WanBlock,
)
from streaming.modules.kv_cache import RingKVCache


class VaceBlock(WanBlock):
    """A block of the branch; `after_proj` makes its hint, `before_proj` (first block only) takes the control
    in."""

    def __init__(self, config: WanConfig, *, first: bool) -> None:
        super().__init__(config)
        if first:
            self.before_proj = nn.Linear(config.dim, config.dim)
        self.after_proj = nn.Linear(config.dim, config.dim)


class CausalVaceWanModel(CausalWanModel):
    """`CausalWanModel` that can be guided by a control video (depth, masked video, reference images)."""

    vace_blocks: Sequence[VaceBlock]

    def __init__(self, config: WanConfig, parts: BlockParts = PLAIN) -> None:
        super().__init__(config, parts)
        if not config.vace_layers:
            raise ConfigError("vace_layers must name at least one layer, got ()")
        patch = config.patch_size
        self.vace_patch_embedding = nn.Conv3d(config.vace_in_dim, config.dim, patch, stride=patch)
        blocks = nn.ModuleList(VaceBlock(config, first=n == 0) for n in range(len(config.vace_layers)))
        self.vace_blocks = cast(Sequence[VaceBlock], blocks)

    def encode_text(self, text: Tensor) -> TextContext:
        embedded = self.embed_text(text)
        main, vace = (
            tuple(block.cross_attn.keys_values(embedded) for block in blocks)
            for blocks in (self.blocks, self.vace_blocks)
        )
        return TextContext(main, vace)

    def embed_control(self, control: Tensor, num_latents: int) -> Tensor:
        """Control latents (B, F', vace_in_dim, H, W) -> tokens (B, L, E) that every step of the chunk adds
        to its own.

        Depends on no timestep, so once per chunk is enough. Control that is longer or shorter than the
        chunk's
        `num_latents` is cut or padded with zero tokens, as upstream does; the pipeline never relies on that
        (references that push out depth are a pitfall of it).
        """
        tokens = self.vace_patch_embedding(control.transpose(1, 2)).flatten(2).transpose(1, 2).contiguous()
        length = num_latents * (tokens.shape[1] // control.shape[1])
        tokens = nn.functional.pad(tokens, (0, 0, 0, max(0, length - tokens.shape[1])))[:, :length]
        return self.vace_blocks[0].before_proj(tokens)

    def hints(self, shared: ForwardPass, control: Tensor, context: TextContext) -> Iterator[Tensor]:
        """One residual (B, L, E) per VACE block. They depend on the noisy tokens and the timestep: never
        reuse them.

        The chain goes on with the un-projected tokens. Positions may carry the chunk's offset, since
        attention within the chunk sees only their differences.
        """
        tokens = control + shared.tokens
        for block, keys_values in zip(self.vace_blocks, context.vace_blocks, strict=True):
            tokens = block(tokens, shared, keys_values)
            yield block.after_proj(tokens)

    def hints_of_chunk(
        self,
        shared: ForwardPass,
        branch: ForwardPass,
        control: Tensor,
        context: TextContext,
        scale: float | Tensor,
        launched: Callable[[int], object] = lambda layer: None,
    ) -> dict[int, Tensor]:
        """What `run` adds, by main block. `branch` is what the branch sees: `shared`, or references and
        then it. `control` (N, L, E) is of all ranks; with scales (N,) it is N controls of a batch of one.
        `launched` is called with a block's index once what computes its hint has been launched."""
        own, found = shared.tokens.shape[1], dict[int, Tensor]()
        if (count := len(control)) != len(branch.tokens):
            modulation = branch.modulation.expand(count, -1, -1, -1).contiguous()
            branch = replace(branch, modulation=modulation)
        hints = self.hints(branch, self.ranks.scatter(control, branch.grid), context)
        for layer, hint in zip(self.config.vace_layers, hints, strict=True):
            found[layer] = shared.parts.scaled(hint[:, -own:], scale)
            launched(layer)
        return found

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: TextContext,
        cache: RingKVCache | None = None,
        start: int = 0,
        *,
        control: Tensor | None = None,
        control_scale: float | Tensor = 1.0,
        references: Tensor | None = None,
        rewrite_sink: bool = False,
    ) -> Tensor:
        """As `CausalWanModel.forward`; `control` is what `embed_control` gives, scaled by `control_scale`:
        for x of a batch of one N of them, (N, L, E), with scales (N,).

        `references` (B, R, C, H, W) are the latents of reference pictures, noised to `timestep`; `control`
        then begins with theirs. As in VACE they stand before the chunk, but in the branch only: the chunk's
        own control keeps its place, and the main blocks and the cache never see them.
        """
        shared = self.begin(x, timestep, cache, start, rewrite_sink=rewrite_sink)
        if control is None:
            return self.run(shared, context, {})
        branch = shared
        if references is not None:
            earlier = timestep[:, :1].expand(references.shape[:2])
            branch = self.begin(torch.cat([references, x], 1), torch.cat([earlier, timestep], 1))
        hints = self.hints_of_chunk(shared, branch, control, context, control_scale)
        return self.run(shared, context, hints)
