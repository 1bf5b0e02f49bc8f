"""Law: what is trained is what runs. Teacher forcing gives the flow that the cached stream gives."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scripts.embedded.stages.teacher import Lesson, predict_flow
from streaming.blocks.recache import recache, write_clean_kv
from streaming.config import CHUNK_LATENTS, WanConfig, WindowConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel

CONFIG = WanConfig(
    dim=32,
    ffn_dim=64,
    num_heads=2,
    num_layers=3,
    freq_dim=16,
    text_dim=8,
    text_len=4,
    in_dim=4,
    out_dim=4,
    vace_layers=(0, 2),
    vace_in_dim=12,
)
WINDOW = WindowConfig(local_attn_size=9, sink_size=3)
HEIGHT, WIDTH, CHUNKS = 4, 6, 4


@pytest.fixture
def model() -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(CONFIG).eval()


def make_lesson(switch: int, references: int) -> Lesson:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    prompt = (torch.arange(CHUNKS) >= switch).long()[None]
    pictures = normal(1, references, 12, HEIGHT, WIDTH) if references else None
    return Lesson(
        clean=normal(1, CHUNKS - 1, CHUNK_LATENTS, 4, HEIGHT, WIDTH),
        noisy=normal(1, CHUNKS, CHUNK_LATENTS, 4, HEIGHT, WIDTH),
        timestep=1000 * torch.rand(1, CHUNKS, generator=generator),
        control=normal(1, CHUNKS, CHUNK_LATENTS, 12, HEIGHT, WIDTH),
        scale=torch.tensor([0.7]),
        text=normal(1, 2, 4, 8),
        clean_prompt=prompt[:, 1:],
        noisy_prompt=prompt,
        references=pictures,
        noised_references=normal(1, CHUNKS, references, 4, HEIGHT, WIDTH) if references else None,
    )


def streamed(model: CausalVaceWanModel, lesson: Lesson) -> Tensor:
    """The same chunks one after the other through the ring cache, recached where the prompt changes."""
    cache, flows = model.new_cache(WINDOW, HEIGHT, WIDTH), []
    for chunk in range(CHUNKS):
        prompt = int(lesson.noisy_prompt[0, chunk])
        context = model.encode_text(lesson.text[:, prompt])
        if chunk and prompt != int(lesson.noisy_prompt[0, chunk - 1]):
            window = lesson.clean[:, :chunk].flatten(1, 2)[:, -WINDOW.local_attn_size :]
            recache(model, window, context, cache)
        own = lesson.control[:, chunk]
        control = own if lesson.references is None else torch.cat([lesson.references, own], 1)
        flow = model(
            lesson.noisy[:, chunk],
            lesson.timestep[:, chunk : chunk + 1].expand(1, CHUNK_LATENTS),
            context,
            cache,
            chunk * CHUNK_LATENTS,
            control=model.embed_control(control, control.shape[1]),
            control_scale=float(lesson.scale[0]),
            references=None if lesson.noised_references is None else lesson.noised_references[:, chunk],
        )
        flows.append(flow)
        if chunk < CHUNKS - 1:
            write_clean_kv(model, lesson.clean[:, chunk], context, cache, chunk * CHUNK_LATENTS)
    return torch.stack(flows, 1)


@pytest.mark.parametrize("references", [0, 2])
def test_teacher_forcing_equals_streaming(model: CausalVaceWanModel, references: int) -> None:
    lesson = make_lesson(switch=CHUNKS, references=references)
    with torch.no_grad():
        expected, given = streamed(model, lesson), predict_flow(model, lesson, WINDOW)
    # The window of the last chunk was read while it still saw what has left it since; the rest is exact.
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


def test_a_switch_is_taught_as_it_is_streamed(model: CausalVaceWanModel) -> None:
    """At the switch; a chunk later the stream's own past differs (it was read under the new prompt)."""
    lesson = make_lesson(switch=1, references=0)
    with torch.no_grad():
        expected, given = streamed(model, lesson), predict_flow(model, lesson, WINDOW)
    torch.testing.assert_close(given[:, :2], expected[:, :2], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(model: CausalVaceWanModel) -> None:
    predict_flow(model, make_lesson(switch=2, references=1), WINDOW).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_hints_are_scaled(model: CausalVaceWanModel) -> None:
    lesson = make_lesson(switch=CHUNKS, references=0)
    with torch.no_grad():
        none = predict_flow(model, replace(lesson, scale=torch.zeros(1)), WINDOW)
        other = predict_flow(model, replace(lesson, scale=torch.zeros(1), control=lesson.control * 0), WINDOW)
    torch.testing.assert_close(none, other)
