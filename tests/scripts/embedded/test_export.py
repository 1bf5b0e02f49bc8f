"""What is exported is what the package's own loader reads, to half precision."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scripts.embedded.export import export, unpack
from scripts.embedded.stages.generator import trained_models
from streaming.checkpoints.models import Models, load_models, random_models
from streaming.checkpoints.presets import EMBEDDED, UNTRAINED, packaged
from streaming.config import TaehvConfig

CPU = torch.device("cpu")


def tensors_of(models: Models) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name in ("transformer", "autoencoder", "text_encoder")
        for key, value in getattr(models, name).state_dict().items()
    }


def test_exported_models_come_back_to_half_precision(tmp_path: Path) -> None:
    models = random_models(UNTRAINED, device=CPU, dtype=torch.float32, seed=3)
    files = export(models, tmp_path / "new")
    assert files == packaged(UNTRAINED, tmp_path / "new").files
    assert all(path.stat().st_mode & 0o044 for path in (tmp_path / "new").iterdir()), "all may read"
    loaded = load_models(UNTRAINED, files, device=CPU, dtype=torch.float32)
    before, after = tensors_of(models), tensors_of(loaded)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert after[key].dtype == torch.float32
        assert torch.equal(after[key], value.half().float()), key
    assert loaded.trained and loaded.decoder is loaded.autoencoder
    prompt = "a statue of molten gold"
    assert loaded.text_encoder.tokenizer(prompt) == models.text_encoder.tokenizer(prompt)


def test_shipped_weights_go_on_being_trained(tmp_path: Path) -> None:
    unpack(EMBEDDED, tmp_path)
    models = trained_models(tmp_path, Path(EMBEDDED.files["tokenizer_path"]))
    shipped = load_models(UNTRAINED, EMBEDDED.files, device=CPU, dtype=torch.float32)
    before, after = tensors_of(shipped), tensors_of(models)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_half_precision_cannot_hold_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    models = random_models(UNTRAINED, device=CPU, dtype=torch.float32)
    models.transformer.head.head.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"head.head.bias must be finite in float16, .* is 1000000"):
        export(models, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_decoder_of_its_own_has_no_place(tmp_path: Path) -> None:
    preset = replace(UNTRAINED, decoder=TaehvConfig())
    with pytest.raises(ValueError, match="models.decoder must be models.autoencoder"):
        export(random_models(preset, device=CPU, dtype=torch.float32), tmp_path)
