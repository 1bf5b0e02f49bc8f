"""Laws of the sequences: what is painted depends on nothing that the model cannot see."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from scripts.embedded.data import sequences
from scripts.embedded.data.sequences import MASKED, Pool, Renewal, SequenceMaker
from scripts.embedded.scenes.looks import Paint, paint
from streaming.checkpoints.presets import EMBEDDED
from streaming.config import TaehvConfig
from streaming.modules.taehv import TAEHV


def test_pictures_follow_the_waves_that_control_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    followed: list[Tensor] = []

    def estimated(depth: Tensor, _: torch.Generator) -> Tensor:
        seen.append(depth)
        return depth

    def painted(depth: Tensor, kinds: Sequence[Paint], gray: Tensor) -> Tensor:
        followed.append(depth)
        return paint(depth, kinds, gray)

    monkeypatch.setattr(sequences, "uneven", lambda depth, _: (depth + 0.05).clamp(0, 1))
    monkeypatch.setattr(sequences, "degraded", estimated)
    monkeypatch.setattr(sequences, "paint", painted)
    config = EMBEDDED.autoencoder
    assert isinstance(config, TaehvConfig)
    tokenizer = AutoTokenizer.from_pretrained(Path(EMBEDDED.files["tokenizer_path"]))
    maker = SequenceMaker(
        TAEHV(config).eval(), tokenizer, text_len=16, height=48, width=64, seed=3, switched=0.0
    )
    monkeypatch.setattr(maker, "_gains", lambda scenes: (torch.ones(scenes), torch.ones(scenes)))
    maker.make(1, 2, MASKED)  # whose guidance has strength 1
    assert seen[0].min() >= 0.05
    torch.testing.assert_close(followed[0], seen[0].repeat_interleave(2, 0))


@pytest.mark.parametrize("draws", [0.5, 2.0, 5.0])
def test_clips_are_renewed_as_often_as_they_are_drawn(draws: float) -> None:
    pool = Pool(batch=3, size=64, draws=draws, scenes=2, paints=4)
    renewal = Renewal(pool)
    made = pool.fresh * sum(renewal.due(draws) for _ in range(1000))
    assert 0 <= 1000 * pool.batch / draws - made <= pool.fresh
