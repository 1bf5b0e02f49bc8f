import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.embedded.data.photographs import SIDE, SOURCES, Photographs, Source, collect, save

CPU = torch.device("cpu")


def test_what_is_collected_is_what_is_loaded(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, 2 * SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    squares = collect(tmp_path, [Source("no-such-package", "wide.png", "CC0", often=2)])
    assert np.array_equal(squares[0], pixels[:, :SIDE]) and np.array_equal(squares[1], pixels[:, SIDE:])
    assert save(squares, tmp_path / "kept.npz") == 2
    assert len(Photographs.load(tmp_path / "kept.npz", CPU)) == 2


def test_what_is_not_installed_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert collect(tmp_path, [Source("no-such-package", "a/b.png", "CC0")]).shape == (0, SIDE, SIDE, 3)
        assert not len(Photographs.load(tmp_path / "none.npz", CPU))
    assert "no-such-package: a/b.png" in caplog.text and "none.npz" in caplog.text


def test_a_photograph_is_filmed_by_a_camera_that_moves_as_its_seed_says() -> None:
    squares = torch.randint(255, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    photographs = Photographs(torch.nn.functional.interpolate(squares, size=(SIDE, SIDE)))

    def filmed(seed: int) -> torch.Tensor:
        return photographs.filmed(2, 17, torch.Generator().manual_seed(seed), height=36, width=64)

    film = filmed(1)
    assert film.shape == (2, 17, 3, 36, 64) and film.min() >= 0 and film.max() <= 1
    assert (film[:, 0] - film[:, -1]).abs().mean() > 0.01
    assert torch.equal(film, filmed(1)) and not torch.equal(film, filmed(2))


def test_judged_clips_are_not_among_the_sources() -> None:
    assert {source.package for source in SOURCES} == {"scikit-image", "scikit-learn"}
    assert all(source.licence for source in SOURCES)
