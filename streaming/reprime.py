"""Re-priming: a stream's memory computed again of a snapshot, on another device perhaps.

Keys and values come of a recache pass over the newest clean latents, at their old places in time; the
decoder's memory of decoding them once more, pictures thrown away. The encoders of controls and camera begin
as after empty pictures: the built-in model's knows no difference, and Wan's (drawn weights) comes two to five
times nearer to what it would have given than after a chunk of the first picture, held still.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from streaming.api import MAX_REFERENCES
from streaming.blocks.recache import write_clean_kv
from streaming.blocks.vace_encoding import ControlState, reference_control
from streaming.config import CHUNK_LATENTS
from streaming.modules.causal_model import TextContext
from streaming.pipeline import LongLivePipeline
from streaming.session import StreamSession
from streaming.snapshot import SnapshotRejected, StreamSnapshot

# Decoded once more, for the decoder's memory. The built-in model's first pictures, against a decoder that
# went on: 73 dB after one chunk, 100 dB after two or more.
DECODED_CHUNKS = 2


@torch.inference_mode()
def reprime(pipeline: LongLivePipeline, snapshot: StreamSnapshot) -> StreamSession:
    """A session that goes on where the snapshot was taken. Raises SnapshotRejected for one of another model,
    picture size or kind of device, before any memory is taken."""
    _check(pipeline, snapshot)
    session = pipeline.open_session(seed=snapshot.seed, orientation=snapshot.parameters.orientation)
    session.noise.set_state(snapshot.noise)
    session.chunk, session.frame = snapshot.chunk, snapshot.frame
    session.generation = snapshot.generation
    session.prompts, session.sink_prompts = snapshot.prompts, snapshot.sink_prompts
    if (references := snapshot.parameters.references) is not None:
        session.references = reference_control(_like(pipeline, references), pipeline.config.vace_in_dim)
    if not snapshot.recent or snapshot.prompts is None:
        return session
    target = pipeline.text.embedding(snapshot.prompts)
    context = pipeline.text(snapshot.prompts)
    if snapshot.blend is not None:
        start = _like(pipeline, snapshot.blend.start)
        start = F.pad(start, (0, 0, 0, len(target) - len(start)))
        session.blend = replace(snapshot.blend, start=start)
        context = pipeline.text.context_of(session.blend.towards(target))
    session.recent = _like(pipeline, torch.cat([chunk.latents for chunk in snapshot.recent], dim=1))
    sink = session.recent[:, : session.cache.window.sink_size]
    session.sink = sink if snapshot.sink is None else _like(pipeline, snapshot.sink)
    _fill_ring(pipeline, session, context)
    newest = session.recent[:, -DECODED_CHUNKS * CHUNK_LATENTS :]
    for latents in newest.split(CHUNK_LATENTS, dim=1):  # of the shapes that a stream always has
        _, session.decoder = pipeline.decoder.decode(latents, session.decoder)
    session.control = ControlState(snapshot.chunk)
    return session


def _fill_ring(pipeline: LongLivePipeline, session: StreamSession, context: TextContext) -> None:
    """Keys and values of the window. While it still holds the whole stream they come chunk by chunk, as they
    did; later of the sink and one pass over the rest, since what the rest itself saw is gone."""
    forward, cache, recent = pipeline.passes.forward, session.cache, session.recent
    assert recent is not None and session.sink is not None
    window = cache.window
    if session.latent <= window.local_attn_size:
        for chunk, latents in enumerate(recent.split(CHUNK_LATENTS, dim=1)):
            write_clean_kv(forward, latents, context, cache, chunk * CHUNK_LATENTS)
        return
    if window.sink_size:
        sink_context = pipeline.text(session.sink_prompts) if session.sink_prompts else context
        write_clean_kv(forward, session.sink, sink_context, cache, 0)
    first = session.latent - window.ring_size
    cache.skip_to(first)
    write_clean_kv(forward, recent[:, -window.ring_size :], context, cache, first)


def _like(pipeline: LongLivePipeline, tensor: Tensor) -> Tensor:
    """As the pipeline computes."""
    return tensor.to(pipeline.device, pipeline.dtype)


def _check(pipeline: LongLivePipeline, snapshot: StreamSnapshot) -> None:
    """Raises SnapshotRejected naming what does not fit."""
    preset, window, parameters = pipeline.preset, pipeline.preset.window, snapshot.parameters
    if snapshot.model != preset.name:
        raise SnapshotRejected(f"model: expected {preset.name}, got {snapshot.model}")
    generator = torch.Generator(pipeline.device)
    try:
        generator.set_state(snapshot.noise)
    except (RuntimeError, TypeError, ValueError) as error:
        expected = f"a state of {generator.get_state().numel()} bytes, as on {pipeline.device}"
        got = f"{snapshot.noise.numel()} of {snapshot.noise.dtype}"
        raise SnapshotRejected(f"noise: expected {expected}, got {got}") from error
    latents, seen = preset.transformer.in_dim, snapshot.chunk * CHUNK_LATENTS
    if seen and snapshot.prompts is None:
        raise SnapshotRejected("window_prompts: expected some of a stream that has begun, got none")
    kept = min(seen, window.local_attn_size)
    places = [(snapshot.generation, snapshot.chunk - back) for back in range(kept // CHUNK_LATENTS, 0, -1)]
    if (got := [(chunk.generation, chunk.chunk) for chunk in snapshot.recent]) != places:
        raise SnapshotRejected(f"recent: expected chunks {places}, got {got}")
    try:
        shape = pipeline.shapes.of(parameters.orientation)
    except ValueError as error:
        raise SnapshotRejected(str(error)) from error
    size = shape.latent_size
    for chunk in snapshot.recent:
        _expect(chunk.name, chunk.latents, (1, CHUNK_LATENTS, latents, *size))
    if seen > window.local_attn_size and window.sink_size:
        _expect("sink", snapshot.sink, (1, window.sink_size, latents, *size))
    if (references := parameters.references) is not None:
        _expect("references", references, (1, min(len(references[0]), MAX_REFERENCES), latents, *size))
    if parameters.mask is not None:
        _expect("mask", parameters.mask.paint, (1, 1, 1, *shape.size))
    if snapshot.blend is not None:
        text = preset.transformer
        rows = min(len(snapshot.blend.start), text.text_len)
        _expect("blend", snapshot.blend.start, (rows, text.text_dim))
    controls = {name for name, strength in parameters.strengths.items() if strength}
    if not controls <= set(preset.allowed_controls):
        expected = ", ".join(preset.allowed_controls)
        raise SnapshotRejected(f"strengths: expected of {expected}, got {', '.join(sorted(controls))}")


def _expect(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    if tensor is None or tuple(tensor.shape) != shape or not tensor.is_floating_point():
        got = "none" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
        raise SnapshotRejected(f"{name}: expected {shape} in floating point, got {got}")
    if not tensor.isfinite().all():
        raise SnapshotRejected(f"{name}: expected finite values")
