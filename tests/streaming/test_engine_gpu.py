"""The engine on a GPU gives what it gives on a CPU."""

import numpy as np
import pytest
import torch

from streaming.api import ChunkParameters
from streaming.blocks.text_conditioning import parse_prompts
from streaming.engine import StreamEngine
from streaming.pipeline import LongLivePipeline

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@torch.inference_mode()
@torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # PyTorch's default rounds to 10 bits
def test_the_pipeline_agrees_with_the_cpu_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.Generator()
    draw = torch.randn

    def same_everywhere(
        shape: tuple[int, ...], *, generator: object, device: torch.device, dtype: torch.dtype
    ):
        return draw(shape, generator=noise).to(device, dtype)

    outputs = []
    for name in ("cpu", "cuda"):
        pipeline = LongLivePipeline({}, torch.device(name), torch.float32)
        session = pipeline.open_session(seed=0)
        noise.manual_seed(1)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn", same_everywhere)
            chunks = [
                pipeline.generate(
                    session,
                    parse_prompts("gold" if index < 4 else "clay"),
                    guidance_mode="depth",
                    vace_input=draw(1, 1, 12, 144, 256, generator=torch.Generator().manual_seed(index)).clamp(
                        -1, 1
                    ),
                )
                for index in range(6)
            ]
        outputs.append([chunk.cpu() for chunk in chunks])
    for on_cpu, on_gpu in zip(*outputs, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, atol=2e-3, rtol=0)


def test_the_live_engine_runs_in_bfloat16() -> None:
    engine = StreamEngine.load(model="embedded", depth="edges", device="cuda")
    assert engine.info.dtype == "bfloat16"
    engine.warm_up()
    stream = engine.open(prompt="gold", seed=0)
    for _ in range(3):
        pictures = list(
            np.random.default_rng(0).integers(0, 256, (stream.frames_wanted, 480, 640, 3), np.uint8)
        )
        result = stream.step(pictures, ChunkParameters())
        assert result.frames.std() > 10 and result.timings_ms["total"] > 0
