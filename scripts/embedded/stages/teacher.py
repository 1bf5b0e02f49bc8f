"""Teacher forcing: all chunks of a clip in one forward, each seeing the past as the ring cache would show it.

Clean chunks 0 ... n-2 and noisy chunks 0 ... n-1 go through the layers side by side. No masks: chunks that
see equally much are stacked and attend in one call. The same modules as in streaming, so what is trained is
what runs; `tests/scripts/embedded/stages/test_teacher.py` holds it to the cached pipeline.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.config import CHUNK_LATENTS, WindowConfig
from streaming.kernels.attention import attend
from streaming.modules.causal_model import KeyValue, WanBlock, gated, modulate
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.rope import rotation


@dataclass(frozen=True, slots=True)
class Lesson:
    """One batch. B clips, n chunks of F latents, C channels, P prompts a clip."""

    clean: Tensor  # (B, n - 1, F, C, h, w): the past as it is remembered
    noisy: Tensor  # (B, n, F, C, h, w)
    timestep: Tensor  # (B, n)
    control: Tensor  # (B, n, F, vace_in_dim, h, w)
    scale: Tensor  # (B,) strength of the hints
    text: Tensor  # (B, P, text_len, text_dim)
    clean_prompt: Tensor  # (B, n - 1) int64: which prompt each chunk is read under
    noisy_prompt: Tensor  # (B, n)
    references: Tensor | None = None  # (B, R, vace_in_dim, h, w), the same for every chunk
    noised_references: Tensor | None = None  # (B, n, R, C, h, w)


def predict_flow(model: CausalVaceWanModel, lesson: Lesson, window: WindowConfig) -> Tensor:
    """The flow of every noisy chunk, (B, n, F, C, h, w)."""
    batch, chunks = lesson.noisy.shape[:2]
    _, patch_h, patch_w = model.config.patch_size
    grid = (CHUNK_LATENTS, lesson.noisy.shape[-2] // patch_h, lesson.noisy.shape[-1] // patch_w)
    latents = torch.cat([lesson.clean, lesson.noisy], 1)
    timestep = torch.cat([torch.zeros_like(lesson.timestep[:, 1:]), lesson.timestep], 1)
    tokens = model.embed_patches(latents.flatten(0, 1)).unflatten(0, (batch, -1))  # (B, 2n - 1, L, E)
    time, modulation = model.embed_time(timestep.flatten()[:, None])
    prompt = torch.cat([lesson.clean_prompt, lesson.noisy_prompt], 1)
    embedded = model.text_embedding(lesson.text)
    hints = _hints(model, lesson, tokens[:, chunks - 1 :], grid, embedded)
    turns = _turns(chunks, grid, model.config.head_dim, tokens.device)
    places = _Places(chunks, window, turns)
    x = tokens.flatten(0, 1)
    for layer, block in enumerate(model.blocks):
        context = _of_prompt(
            block.cross_attn.keys_values(embedded.flatten(0, 1)), prompt, lesson.text.shape[1]
        )
        x = _block(block, x, modulation, context, batch, places)
        if layer in hints:
            hint = F.pad(hints[layer], (0, 0, 0, 0, chunks - 1, 0))  # clean passes have none
            x = x + hint.flatten(0, 1)
    out = model.unpatchify(model.head(x, time), grid)
    return out.unflatten(0, (batch, -1))[:, chunks - 1 :]


@lru_cache(maxsize=8)
def _turns(chunks: int, grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Tensor:
    """Cosine and sine of each chunk's tokens, (chunks, L, D/2, 2); kept, since a CUDA graph cannot make
    them."""
    length = grid[0]
    spans = [range(length * n, length * (n + 1)) for n in range(chunks)]
    return torch.stack([rotation(span, *grid[1:], head_dim, device) for span in spans])


@dataclass(frozen=True, slots=True)
class _Places:
    """Which chunks a chunk sees, and where they stand."""

    chunks: int
    window: WindowConfig
    turn: Tensor  # (n, L, D/2, 2): cosine and sine by chunk

    def rotated(self, x: Tensor) -> Tensor:
        """x (B, 2n - 1, L, N, D), each chunk by its own position."""
        turn = torch.cat([self.turn[: self.chunks - 1], self.turn])
        return _rotate(x, turn[:, :, None])

    def attend(self, q: Tensor, k: Tensor, k_turned: Tensor, v: Tensor) -> Tensor:
        """All (B, 2n - 1, L, N, D); clean chunks come first."""
        clean, out = self.chunks - 1, torch.empty_like(q)
        groups: dict[int, list[tuple[int, list[Tensor], list[Tensor]]]] = {}
        for index in range(2 * self.chunks - 1):
            chunk = index if index < clean else index - clean
            in_window = self.window.local_attn_size // CHUNK_LATENTS
            in_sink = self.window.sink_size // CHUNK_LATENTS
            first = max(0, chunk + 1 - in_window)
            # A sink that the window has left behind stands just before the rest of it.
            keys = [
                _rotate(k[:, n], self.turn[first + n][:, None]) if first else k_turned[:, n]
                for n in range(min(in_sink, chunk))
            ]
            values = [v[:, n] for n in range(min(in_sink, chunk))]
            for n in range(max(in_sink, first + in_sink), chunk):
                keys.append(k_turned[:, n])
                values.append(v[:, n])
            keys.append(k_turned[:, index])
            values.append(v[:, index])
            groups.setdefault(len(keys), []).append((index, keys, values))
        for members in groups.values():
            places = [index for index, _, _ in members]
            result = attend(
                torch.cat([q[:, index] for index in places]),
                torch.cat([torch.cat(keys, 1) for _, keys, _ in members]),
                torch.cat([torch.cat(values, 1) for _, _, values in members]),
            )
            for index, part in zip(places, result.chunk(len(places)), strict=True):
                out[:, index] = part
        return out


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """x (..., N, D) by turn (..., 1, D/2, 2) in real numbers: complex ones are slow to differentiate."""
    cos, sin = turn.to(x.dtype).unbind(-1)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def _block(
    block: WanBlock, x: Tensor, modulation: Tensor, context: KeyValue, batch: int, places: _Places
) -> Tensor:
    """As `WanBlock.forward`, x (B (2n - 1), L, E), with the past of each chunk inside the batch."""
    shift_sa, scale_sa, gate_sa, shift_ffn, scale_ffn, gate_ffn = (
        block.modulation[:, None] + modulation
    ).chunk(6, dim=2)
    y = modulate(block.norm1(x), shift_sa, scale_sa)
    attention = block.self_attn
    q, k, v = (
        attention.heads(projected).unflatten(0, (batch, -1))
        for projected in (attention.norm_q(attention.q(y)), attention.norm_k(attention.k(y)), attention.v(y))
    )
    q, k, v = q.to(v.dtype), k.to(v.dtype), v
    attended = places.attend(places.rotated(q), k, places.rotated(k), v)
    x = x + gated(attention.o(attended.flatten(0, 1).flatten(2)), gate_sa)
    x = x + block.cross_attn(block.norm3(x), context)
    return x + gated(block.ffn(modulate(block.norm2(x), shift_ffn, scale_ffn)), gate_ffn)


def _of_prompt(keys_values: KeyValue, prompt: Tensor, prompts: int) -> KeyValue:
    """Keys and values of all prompts (B P, T, N, D) -> those that each chunk reads, (B m, T, N, D)."""
    batch = prompt.shape[0]
    at = (torch.arange(batch, device=prompt.device)[:, None] * prompts + prompt).flatten()
    keys, values = keys_values
    return keys[at].to(values.dtype), values[at]


def _hints(
    model: CausalVaceWanModel, lesson: Lesson, tokens: Tensor, grid: tuple[int, int, int], embedded: Tensor
) -> dict[int, Tensor]:
    """The branch's residuals for the noisy chunks by layer, each (B, n, L, E)."""
    batch, chunks, length = tokens.shape[:3]
    control, count = lesson.control.flatten(0, 1), 0
    x = tokens.flatten(0, 1)
    if lesson.references is not None and lesson.noised_references is not None:
        count = lesson.references.shape[1]
        repeated = lesson.references[:, None].expand(-1, chunks, -1, -1, -1, -1).flatten(0, 1)
        control = torch.cat([repeated, control], 1)
        x = torch.cat([model.embed_patches(lesson.noised_references.flatten(0, 1)), x], 1)
    latents = CHUNK_LATENTS + count
    _, modulation = model.embed_time(lesson.timestep.flatten()[:, None])
    turn = _turns(1, (latents, *grid[1:]), model.config.head_dim, tokens.device)[0]
    context = tuple(
        _of_prompt(
            block.cross_attn.keys_values(embedded.flatten(0, 1)), lesson.noisy_prompt, lesson.text.shape[1]
        )
        for block in model.vace_blocks
    )
    tokens = model.embed_control(control, latents) + x
    scale = lesson.scale.to(tokens.dtype).repeat_interleave(chunks)[:, None, None]
    hints: dict[int, Tensor] = {}
    for layer, block, keys_values in zip(model.config.vace_layers, model.vace_blocks, context, strict=True):
        tokens = _branch_block(block, tokens, modulation, turn, keys_values)
        hints[layer] = (block.after_proj(tokens)[:, -length:] * scale).unflatten(0, (batch, chunks))
    return hints


def _branch_block(block: WanBlock, x: Tensor, modulation: Tensor, turn: Tensor, context: KeyValue) -> Tensor:
    """As `WanBlock.forward` without memory, rotating in real numbers."""
    shift_sa, scale_sa, gate_sa, shift_ffn, scale_ffn, gate_ffn = (
        block.modulation[:, None] + modulation
    ).chunk(6, dim=2)
    y = modulate(block.norm1(x), shift_sa, scale_sa)
    attention = block.self_attn
    v = attention.heads(attention.v(y))
    q = attention.heads(attention.norm_q(attention.q(y))).to(v.dtype)
    k = attention.heads(attention.norm_k(attention.k(y))).to(v.dtype)
    turn = turn[:, None]
    x = x + gated(attention.o(attend(_rotate(q, turn), _rotate(k, turn), v).flatten(2)), gate_sa)
    x = x + block.cross_attn(block.norm3(x), context)
    return x + gated(block.ffn(modulate(block.norm2(x), shift_ffn, scale_ffn)), gate_ffn)


def compile_blocks() -> None:
    """From now on blocks run compiled: half a minute at the first step, for every later one."""
    global _block, _branch_block
    _block = torch.compile(_block, dynamic=False)
    _branch_block = torch.compile(_branch_block, dynamic=False)
