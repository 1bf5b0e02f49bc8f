"""Dropping the published files into a folder gives the model that was published."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.embedded.export import export
from streaming.api import ChunkParameters, Look
from streaming.blocks.text_conditioning import parse_prompts
from streaming.checkpoints.memory import DoesNotFit, Free, check
from streaming.checkpoints.models import load_models, random_models
from streaming.checkpoints.presets import (
    LONGLIVE,
    PACKAGED_DEPTH,
    PACKAGED_FILES,
    PRESETS,
    UNTRAINED,
    packaged,
)
from streaming.checkpoints.weights import WeightsError
from streaming.config import ConfigError, TextConfig, WanConfig
from streaming.controls.control_videos import depth_alone
from streaming.engine import StreamEngine
from streaming.modules.scribble import ScribbleNetwork
from streaming.modules.wan_vae import WanVaeConfig
from streaming.pipeline import LongLivePipeline
from tests.streaming.depth.test_estimators import save_tiny_model
from tests.streaming.published_files import write_published_files
from tests.streaming.tiny_preset import NARROW

CPU = torch.device("cpu")
# LongLive's parts at a size for tests: Wan's autoencoder, umT5 in fp8, a VACE branch on every second layer.
TINY = replace(
    LONGLIVE,
    name="tiny-longlive",
    transformer=WanConfig(
        dim=48,
        ffn_dim=64,
        num_heads=2,
        num_layers=4,
        freq_dim=16,
        text_dim=32,
        text_len=24,
        vace_layers=(0, 2),
    ),
    autoencoder=WanVaeConfig(dim=8),
    text=TextConfig(vocab_size=384, d_kv=8, d_ff=40, num_layers=2, num_heads=4),
    height=16,
    width=32,
)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, TINY.name, TINY)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The path keys of TINY's published files; tests leave them as they are."""
    models = random_models(TINY, device=CPU, dtype=torch.float32)
    return write_published_files(models, tmp_path_factory.mktemp("published"))


def run(pipeline: LongLivePipeline) -> list[torch.Tensor]:
    """Two chunks; for the second the window is recomputed."""
    session, outputs = pipeline.open_session(seed=1), []
    for index, prompt in enumerate(("gold", "clay")):
        drawn = torch.Generator().manual_seed(index)
        depth = torch.rand(1, 1, 12, TINY.height, TINY.width, generator=drawn) * 2 - 1
        outputs.append(
            pipeline.generate(session, parse_prompts(prompt), guidance_mode="depth", vace_input=depth)
        )
    return outputs


def test_files_in_the_published_layouts_give_the_same_stream(tmp_path: Path) -> None:
    models = random_models(TINY, device=CPU, dtype=torch.float32, seed=3)
    files = write_published_files(models, tmp_path)
    loaded = LongLivePipeline({"model_config": {"base_model_name": TINY.name}} | files, CPU, torch.float32)
    assert loaded.models.trained and not models.trained
    # What the files round, rounded in the original too.
    for name, parameter in models.transformer.named_parameters():
        if name.startswith("vace_"):
            parameter.copy_(parameter.bfloat16())
    for name, parameter in models.text_encoder.named_parameters():
        is_matrix = "Attention" in name or "Dense" in name
        narrow = torch.float8_e4m3fn if is_matrix and "bias" not in name else torch.bfloat16
        parameter.copy_(parameter.to(narrow))
    for key, value in models.transformer.state_dict().items():
        assert torch.equal(loaded.models.transformer.state_dict()[key], value), key
    loaded_embedding, embedding = (m.text_encoder.encode(["a cat"]) for m in (loaded.models, models))
    torch.testing.assert_close(loaded_embedding, embedding, atol=1e-5, rtol=1e-4)
    counts = [video.shape[0] for video in run(loaded)]
    assert counts == [9, 12]


def test_the_documents_configuration_loads_as_it_is_written(files: dict[str, str], tmp_path: Path) -> None:
    """It names no VAE; that lies in the model folder, where the published layout has it."""
    place = tmp_path / "Wan2.1-T2V-1.3B" / "Wan2.1_VAE.pth"
    place.parent.mkdir()
    shutil.copyfile(files["vae_path"], place)
    config = {
        "model_dir": str(tmp_path),
        **{key: path for key, path in files.items() if key != "vae_path"},
        "model_config": {"base_model_name": TINY.name, "base_model_kwargs": {"vace_in_dim": 96}},
        "height": TINY.height,
        "width": TINY.width,
    }
    pipeline = LongLivePipeline(config, device=CPU, dtype=torch.float32)
    assert pipeline.models.trained and pipeline(prompts=[{"text": "gold", "weight": 100}]).shape[0] == 9


def test_the_engine_pulls_checks_and_loads(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []

    def pull(preset: str, *, without: set[str], on_progress: Callable[[object], None]) -> dict[str, Path]:
        assert without == {"taehv_path", "depth"}
        on_progress(preset)
        return {role: Path(path) for role, path in files.items()}

    monkeypatch.setattr("streaming.engine.pull", pull)
    engine = StreamEngine.load(model=TINY.name, depth="edges", device="cpu", on_progress=heard.append)
    assert heard == [TINY.name] and engine.info.trained and engine.info.depth == "edges"
    monkeypatch.setattr("streaming.engine.free_memory", lambda device: Free(device=None, host=1000))
    # Which of the published presets would fit is for test_memory, and takes seconds to count.
    monkeypatch.setattr("streaming.engine.check", partial(check, others=()))
    with pytest.raises(DoesNotFit, match="tiny-longlive does not fit"):
        StreamEngine.load(model=TINY.name, depth="edges", device="cpu")


def test_files_run_in_bfloat16(files: dict[str, str]) -> None:
    """What a GPU runs: every stage keeps the type of the weights, statistics of the latents included."""
    pipeline = LongLivePipeline({"model_config": {"base_model_name": TINY.name}} | files, CPU, torch.bfloat16)
    assert [video.shape[0] for video in run(pipeline)] == [9, 12]


def test_a_branch_for_16_channels_draws_its_own_patch_embedding(files: dict[str, str]) -> None:
    """The document's alternative: pretrained blocks, no pretrained vace_patch_embedding, depth latents
    alone."""
    config = {"model_config": {"base_model_name": TINY.name, "base_model_kwargs": {"vace_in_dim": 16}}}
    pipeline = LongLivePipeline(config | files, CPU, torch.float32)
    assert pipeline.models.transformer.vace_patch_embedding.weight.shape[1] == 16
    assert [video.shape[0] for video in run(pipeline)] == [9, 12]


def test_files_that_were_mixed_up_say_what_they_are(files: dict[str, str]) -> None:
    base = {"model_config": {"base_model_name": TINY.name}} | files
    for name, other, told in (
        (
            "text_encoder_path",
            "vae_path",
            r"vae.pth: .* missing \(first: token_embedding.weight\).*a Wan VAE",
        ),
        ("vae_path", "text_encoder_path", r"umt5.safetensors: .*a umT5 encoder with Wan's names"),
        ("generator_path", "vace_path", r"vace.safetensors: .*VACE weights"),
        ("vace_path", "generator_path", r"longlive_base.pt: holds no VACE weights"),
    ):
        with pytest.raises(WeightsError, match=told):
            LongLivePipeline(base | {name: files[other]}, CPU, torch.float32)


def test_the_scribble_network_is_loaded_by_name_and_strictly(files: dict[str, str], tmp_path: Path) -> None:
    """Published as a pickle of bare tensors. Without it there is none, and filters draw the lines."""
    base = {"model_config": {"base_model_name": TINY.name}} | files
    assert LongLivePipeline(base, CPU, torch.float32).models.scribble is None
    state = ScribbleNetwork().state_dict()
    torch.save(state, published := tmp_path / "netG_A_latest.pth")
    loaded = LongLivePipeline(base | {"scribble_path": str(published)}, CPU, torch.bfloat16).models.scribble
    assert loaded is not None
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name].bfloat16()), name
    for change, told in (
        ({"model4.1.bias": None}, "model4.1.bias"),
        ({"model5.1.bias": torch.zeros(1)}, "model5.1.bias"),
        ({"model4.1.weight": torch.zeros(3, 64, 7, 7)}, "model4.1.weight"),
    ):
        spoilt = {name: value for name, value in (state | change).items() if value is not None}
        torch.save(spoilt, tmp_path / "spoilt.pth")
        with pytest.raises(WeightsError, match=told):
            LongLivePipeline(base | {"scribble_path": str(tmp_path / "spoilt.pth")}, CPU, torch.float32)
    with pytest.raises(WeightsError, match="VAE"):
        LongLivePipeline(base | {"scribble_path": files["vae_path"]}, CPU, torch.float32)


def test_a_file_that_was_not_named_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longlive-1.3b needs generator_path; given: none"):
        LongLivePipeline({"model_config": {"base_model_name": "Wan2.1-T2V-1.3B"}}, CPU, torch.float32)
    with pytest.raises(ConfigError, match="needs vace_path; given: generator_path"):
        load_models(TINY, {"generator_path": "base.pt"}, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the package ships it; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("package")
    export(random_models(NARROW, device=CPU, dtype=torch.float32, seed=3), folder)
    save_tiny_model(folder / PACKAGED_DEPTH)
    (folder / "looks.json").write_text('[{"name": "Gold", "prompt": "a statue of molten gold"}]')
    return folder


@pytest.fixture
def package(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the built-in model, but narrow, made of that."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    monkeypatch.setitem(PRESETS, "embedded", packaged(NARROW, tmp_path))
    return tmp_path


def test_files_that_come_with_a_preset_are_used_and_nothing_is_fetched(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    engine = StreamEngine.load(model="embedded", device="cpu")
    info = engine.info
    assert info.trained and info.depth == "depth-anything-tiny"
    assert info.about == "built-in model, trained on rendered scenes and photographs"
    assert info.looks == (Look("Gold", "a statue of molten gold", None),)
    stream = engine.open(prompt="gold", seed=0)
    assert stream.step([np.zeros((48, 64, 3), np.uint8)] * 9, ChunkParameters()).frames.shape[0] == 9


def test_what_the_configuration_names_goes_before_what_comes_with_a_preset(
    package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = random_models(NARROW, device=CPU, dtype=torch.float32, seed=4)
    files = export(other, tmp_path_factory.mktemp("other"))
    mixed = LongLivePipeline({"generator_path": files["generator_path"]}, CPU, torch.float32).models
    own = LongLivePipeline({}, CPU, torch.float32).models
    assert own.trained and mixed.trained
    weights = [models.transformer.head.head.weight for models in (mixed, own, other)]
    assert torch.equal(weights[0], weights[2].half().float()) and not torch.equal(weights[0], weights[1])
    branches = [models.transformer.vace_patch_embedding.weight for models in (mixed, own)]
    assert torch.equal(*branches)


@pytest.mark.parametrize("name", PACKAGED_FILES.values())
def test_a_file_of_the_package_that_is_missing_or_damaged_is_named(package: Path, name: str) -> None:
    path = package / name
    damaged = path / "tokenizer_config.json" if path.is_dir() else path
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(WeightsError, match=f"{name}: cannot be read"):
        LongLivePipeline({}, CPU, torch.float32)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(WeightsError, match=f"{name}: .*no such f"):
        LongLivePipeline({}, CPU, torch.float32)


@torch.inference_mode()
@pytest.mark.parametrize(
    "preset", [replace(preset, height=16, width=32) for preset in (TINY, UNTRAINED)], ids=["vae", "taehv"]
)
def test_a_stream_cut_into_chunks_equals_one_offline_run(preset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control encoded in one call, latents decoded in one call: the same frames as chunk by chunk."""
    monkeypatch.setitem(PRESETS, "cut", replace(preset, name="cut", needs_files=False))
    pipeline = LongLivePipeline({"model_config": {"base_model_name": "cut"}}, CPU, torch.float32)
    chunks, session, latents = 4, pipeline.open_session(seed=1), []
    depth = torch.rand(1, 3, 9 + 12 * (chunks - 1), 16, 32) * 2 - 1
    controls: list[torch.Tensor] = []
    embed = pipeline.models.transformer.embed_control
    monkeypatch.setattr(
        pipeline.models.transformer, "embed_control", lambda c, n: controls.append(c) or embed(c, n)
    )
    parts, start = [], 0
    for index in range(chunks):
        count = 12 if index else 9
        parts.append(
            pipeline.generate(
                session,
                parse_prompts("gold"),
                guidance_mode="depth",
                vace_input=depth[:, :, start : start + count],
            )
        )
        assert session.recent is not None
        latents.append(session.recent[:, -3:])
        start += count
    (video_of_depth,) = depth_alone(preset.control_videos, depth)
    assert video_of_depth is not None
    whole, _ = pipeline.models.autoencoder.encode(video_of_depth.picture.transpose(1, 2), None)
    torch.testing.assert_close(torch.cat(controls, 1)[:, :, 16:32], whole, atol=2e-5, rtol=1e-4)
    video, _ = pipeline.decoder.decode(torch.cat(latents, dim=1), None)
    offline = (video[0] * 0.5 + 0.5).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(torch.cat(parts), offline, atol=2e-5, rtol=1e-4)


def test_random_weights_depend_on_the_seed_alone() -> None:
    one, same, other = (
        random_models(TINY, device=CPU, dtype=torch.float32, seed=seed).transformer.head.head.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
