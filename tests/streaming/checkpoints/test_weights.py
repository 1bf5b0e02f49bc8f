"""Published layouts load by name; a file that does not fit says what it is and which keys are at fault."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from streaming.checkpoints.presets import WAN_1_3B
from streaming.checkpoints.weights import (
    WeightsError,
    generator_state,
    load_into,
    lora_file,
    parse_lora,
    plain_state,
    read_file,
    vace_state,
)
from streaming.config import TaehvConfig, WanConfig
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.taehv import TAEHV

KEYS = Path(__file__).parents[2] / "parity" / "keys"
CPU = torch.device("cpu")
CONFIG = WanConfig(
    dim=24, ffn_dim=40, num_heads=2, num_layers=2, freq_dim=16, text_dim=10, text_len=5, vace_layers=(0,)
)
BRANCH = r"vace_(blocks|patch_embedding)\."
MAIN = r"(?!vace_)"


@pytest.fixture
def model() -> CausalVaceWanModel:
    torch.manual_seed(0)
    return CausalVaceWanModel(CONFIG)


def parts(model: CausalVaceWanModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    state = model.state_dict()
    return (
        {key: v for key, v in state.items() if not key.startswith("vace_")},
        {key: v for key, v in state.items() if key.startswith("vace_")},
    )


def empty() -> CausalVaceWanModel:
    with torch.device("meta"):
        return CausalVaceWanModel(CONFIG)


@pytest.mark.parametrize("container", ["generator", "generator_ema", "model"])
def test_longlive_and_vace_files_make_one_model(
    model: CausalVaceWanModel, tmp_path: Path, container: str
) -> None:
    """Container and prefix come off; VACE's own base weights (other numbers, other dtype) stay unread."""
    main, branch = parts(model)
    base = {f"model._fsdp_wrapped_module.{key}": value for key, value in main.items()}
    torch.save({container: base, "step": torch.tensor(3)}, tmp_path / "base.pt")
    strangers = {key: torch.zeros_like(value) for key, value in main.items()}
    save_file({key: v.bfloat16() for key, v in branch.items()} | strangers, tmp_path / "vace.safetensors")

    built = empty()
    load_into(
        built,
        generator_state(tmp_path / "base.pt"),
        where="base.pt",
        device=CPU,
        dtype=torch.float32,
        only=MAIN,
    )
    load_into(
        built,
        vace_state(tmp_path / "vace.safetensors"),
        where="vace",
        device=CPU,
        dtype=torch.float32,
        only=BRANCH,
    )
    for key, value in built.state_dict().items():
        want = branch[key].bfloat16().float() if key in branch else main[key]
        assert torch.equal(value, want) and value.dtype == torch.float32, key


def test_law_loading_takes_time_by_the_number_of_tensors_not_by_its_square(
    model: CausalVaceWanModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look through all layers of the published model for each of its tensors takes 10 s."""
    looked_at: list[torch.nn.Module] = []
    load = torch.nn.Module._load_from_state_dict

    def counted(module: torch.nn.Module, *given: object) -> None:
        looked_at.append(module)
        load(module, *given)

    monkeypatch.setattr(torch.nn.Module, "_load_from_state_dict", counted)
    state = model.state_dict()
    load_into(empty(), state, where="whole", device=CPU, dtype=torch.float32)
    assert 0 < len(looked_at) <= 2 * len(state)


def lora_of(model: CausalVaceWanModel, rank: int = 2) -> dict[str, Tensor]:
    """PEFT's names for every Linear inside the main blocks."""
    out: dict[str, Tensor] = {}
    for name, module in model.blocks.named_modules():
        if isinstance(module, torch.nn.Linear):
            out[f"base_model.model.blocks.{name}.lora_A.weight"] = torch.randn(rank, module.in_features)
            out[f"base_model.model.blocks.{name}.lora_B.weight"] = torch.randn(module.out_features, rank)
    return out


def test_a_lora_is_merged_in_float32_before_the_cast(model: CausalVaceWanModel, tmp_path: Path) -> None:
    adapter, (main, _) = lora_of(model), parts(model)
    torch.save({"generator_lora": {k: v.bfloat16() for k, v in adapter.items()}}, tmp_path / "lora.pt")
    built = empty()
    load_into(
        built,
        main,
        where="base",
        device=CPU,
        dtype=torch.bfloat16,
        only=MAIN,
        lora=lora_file(tmp_path / "lora.pt"),
    )
    name = "blocks.1.ffn.2"
    down, up = (adapter[f"base_model.model.{name}.lora_{half}.weight"].bfloat16().float() for half in "AB")
    want = (main[f"{name}.weight"] + up @ down).bfloat16()
    assert torch.equal(built.state_dict()[f"{name}.weight"], want)
    assert torch.equal(built.state_dict()["head.head.weight"], main["head.head.weight"].bfloat16())


def test_a_lora_that_leaves_layers_alone_is_told(
    model: CausalVaceWanModel, caplog: pytest.LogCaptureFixture
) -> None:
    adapter, (main, _) = lora_of(model), parts(model)
    some = {key: value for key, value in adapter.items() if "blocks.1.ffn.2" not in key}
    for state, words in (
        (adapter, ""),
        (some, "base: the LoRA leaves 1 layers alone, blocks.1.ffn.2 the first"),
    ):
        load_into(
            empty(),
            main,
            where="base",
            device=CPU,
            dtype=torch.float32,
            only=MAIN,
            lora=parse_lora(state),
        )
        assert caplog.text.count("leaves") == bool(words) and words in caplog.text


def test_lora_names_are_tolerated_with_and_without_peft_decoration(model: CausalVaceWanModel) -> None:
    plain = lora_of(model)
    spelled = {
        key.replace("base_model.model.", "").replace(".weight", ".default.weight"): value
        for key, value in plain.items()
    }
    assert parse_lora(plain).pairs.keys() == parse_lora(spelled).pairs.keys()
    assert len(parse_lora(plain).pairs) == 10 * CONFIG.num_layers


def test_the_published_lora_fits_the_published_transformer() -> None:
    """300 linear layers inside the blocks, by name and by shape."""
    keys = json.loads((KEYS / "longlive_lora_peft.json").read_text())["keys"]
    lora = parse_lora({key: torch.empty(shape, device="meta") for key, shape in keys.items()})
    with torch.device("meta"):
        weights = CausalVaceWanModel(WAN_1_3B).state_dict()
    assert len(lora.pairs) == 300
    for module, (down, up) in lora.pairs.items():
        assert (up.shape[0], down.shape[1]) == weights[f"{module}.weight"].shape, module


def test_a_wrong_file_says_what_it_looks_like(model: CausalVaceWanModel, tmp_path: Path) -> None:
    main, branch = parts(model)
    taehv = TAEHV(TaehvConfig(encoder_channels=(4, 4, 4, 4), decoder_channels=(4, 4, 4, 4))).state_dict()
    save_file(main, tmp_path / "base.safetensors")
    save_file(taehv, tmp_path / "tae.safetensors")
    with pytest.raises(
        WeightsError, match=r"base.safetensors: holds no VACE weights; it looks like a Wan trans"
    ):
        vace_state(tmp_path / "base.safetensors")
    with pytest.raises(
        WeightsError, match=r"tae: .* missing \(first: patch_embedding.weight\).*a TAEHV autoenc"
    ):
        load_into(
            empty(),
            plain_state(tmp_path / "tae.safetensors"),
            where="tae",
            device=CPU,
            dtype=torch.float32,
            only=MAIN,
        )
    with pytest.raises(WeightsError, match="no LoRA tensor; the file looks like a Wan transformer"):
        parse_lora(main)
    short = {key: value for key, value in main.items() if key != "head.head.bias"} | {"extra": torch.zeros(1)}
    with pytest.raises(
        WeightsError, match=r"1 keys missing \(first: head.head.bias\), 1 unexpected \(first: extra\)"
    ):
        load_into(empty(), short, where="w", device=CPU, dtype=torch.float32, only=MAIN)
    with pytest.raises(WeightsError, match=r"patch_embedding.bias is \(3,\), expected \(24,\)"):
        odd = main | {"patch_embedding.bias": torch.zeros(3)}
        load_into(empty(), odd, where="w", device=CPU, dtype=torch.float32, only=MAIN)
    with pytest.raises(WeightsError, match="LoRA is for 'blocks.9.ffn.0'"):
        lost = {f"blocks.9.ffn.0.lora_{h}.weight": torch.zeros(2, 2) for h in "AB"}
        load_into(empty(), main, where="w", device=CPU, dtype=torch.float32, only=MAIN, lora=parse_lora(lost))
    assert branch


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_truncated_or_missing_file_is_named(model: CausalVaceWanModel, tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"weights{suffix}", parts(model)[0]
    with pytest.raises(WeightsError, match="no such file"):
        read_file(path)
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="is it complete"):
        read_file(path)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"generator": print}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_file(tmp_path / "evil.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".SAFETENSORS", ""])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>login</html>", "a web page"),
        (b"<?xml version='1.0'?><Error/>", "a web page"),
        (b'{"error": "no access"}', "a text in JSON"),
        (b"GGUF\3\0\0\0", "in GGUF"),
        (b"", "empty"),
        (b"\x1f\x8b\x08\0", "packed with gzip"),
        (b"PK\3\4 cut off", "is it complete"),
        (b"\x80\2}q\0.", "is it complete|expected tensors"),
        (b"\x10\0\0\0\0\0\0\0{cut off", "is it complete"),
        (b"\0" * 100, "is it complete"),
        (b"\x80\2" + b"c" * 70, "is it complete"),
    ],
)
def test_law_a_file_that_only_looks_like_weights_is_told_what_it_is(
    tmp_path: Path, suffix: str, content: bytes, told: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=told) as caught:
        read_file(path)
    assert str(path) in str(caught.value) and "mmap" not in str(caught.value)


@pytest.mark.parametrize("kind", ["archive", "legacy", "safetensors"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".SAFETENSORS", ".bin"])
def test_law_weights_are_read_whatever_their_file_is_called(tmp_path: Path, kind: str, suffix: str) -> None:
    path, state = tmp_path / f"weights{suffix}", {"q.weight": torch.arange(6.0).view(2, 3)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "archive")
    assert torch.equal(plain_state(path)["q.weight"], state["q.weight"])


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model._fsdp_wrapped_module.",
        "model.module.",
    ],
)
def test_law_what_training_wraps_around_a_model_comes_off(
    model: CausalVaceWanModel, tmp_path: Path, prefix: str, kind: str
) -> None:
    main, branch = parts(model)
    write = save_file if kind == "safetensors" else torch.save
    write({f"{prefix}{name}": value for name, value in main.items()}, tmp_path / f"main.{kind}")
    write({f"module.{name}": value for name, value in branch.items()}, tmp_path / f"vace.{kind}")
    assert generator_state(tmp_path / f"main.{kind}").keys() == main.keys()
    assert vace_state(tmp_path / f"vace.{kind}").keys() == branch.keys()
    assert plain_state(tmp_path / f"vace.{kind}").keys() == branch.keys()


def test_one_tensor_under_two_names_is_told(tmp_path: Path) -> None:
    save_file({"module.q": torch.zeros(1), "q": torch.zeros(1)}, tmp_path / "twice.safetensors")
    with pytest.raises(WeightsError, match="are one tensor, 'q', twice"):
        plain_state(tmp_path / "twice.safetensors")


PAIR = {"q.lora_A.weight": torch.ones(4, 8), "q.lora_B.weight": torch.ones(8, 4)}


def scale_of(path: Path, module: str = "q") -> float:
    return lora_file(path).merged(f"{module}.weight", torch.zeros(8, 8))[0, 0].item() / 4


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (None, 1.0),
        ({"r": 4, "lora_alpha": 2}, 0.5),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"r": 4, "lora_alpha": 2, "alpha_pattern": {"q": 12}}, 3.0),
        ({"r": 99, "lora_alpha": 2}, 0.5),
        ({"r": 4}, 1.0),
        ({"lora_alpha": 0}, 0.0),
    ],
)
@pytest.mark.parametrize("kind", ["pt", "safetensors", "metadata"])
def test_law_a_lora_is_scaled_by_alpha_over_rank(
    tmp_path: Path, config: dict | None, scale: float, kind: str
) -> None:
    path = tmp_path / "lora.safetensors"
    if kind == "metadata":
        metadata = {"lora_adapter_metadata": json.dumps(config)} if config else {"format": "pt"}
        save_file(PAIR, path, metadata)
    else:
        path = path if kind == "safetensors" else tmp_path / "lora.pt"
        (save_file if kind == "safetensors" else torch.save)(PAIR, path)
        if config is not None:
            (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8-sig")
    assert scale_of(path) == pytest.approx(scale)


def test_an_alpha_pattern_that_is_no_expression_is_named(tmp_path: Path) -> None:
    save_file(PAIR, tmp_path / "lora.safetensors")
    config = {"lora_alpha": 2, "alpha_pattern": {"q(": 12}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="alpha_pattern"):
        scale_of(tmp_path / "lora.safetensors")


def test_alpha_beside_a_pair_counts_before_that_of_all(tmp_path: Path) -> None:
    save_file(
        {
            "diffusion_model.q.lora_down.weight": torch.ones(4, 8),
            "diffusion_model.q.lora_up.weight": torch.ones(8, 4),
            "diffusion_model.q.alpha": torch.tensor(6.0),
            **{name.replace("q.", "k."): value for name, value in PAIR.items()},
        },
        tmp_path / "lora.safetensors",
        {"ss_network_alpha": "2.0"},
    )
    assert scale_of(tmp_path / "lora.safetensors") == 1.5
    assert scale_of(tmp_path / "lora.safetensors", "k") == 0.5


@pytest.mark.parametrize(
    "text", ["", "[]", '{"lora_alpha": "much"}', '{"lora_alpha": NaN}', '{"lora_alpha": -1}']
)
def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    torch.save(PAIR, tmp_path / "lora.pt")
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"adapter_config\.json|lora\.pt: lora_alpha is"):
        lora_file(tmp_path / "lora.pt")


@pytest.mark.parametrize(
    ("down", "up"), [((4, 16), (16, 4)), ((4, 8), (8, 3)), ((4, 8), (9, 4)), ((8,), (8,))]
)
def test_law_a_lora_of_another_width_is_told_with_its_file_and_layer(
    down: tuple[int, ...], up: tuple[int, ...]
) -> None:
    lora = parse_lora(
        {"q.lora_A.weight": torch.zeros(down), "q.lora_B.weight": torch.zeros(up)}, where="lora.pt"
    )
    module = torch.nn.Sequential()
    module.add_module("q", torch.nn.Linear(8, 8, bias=False))
    with pytest.raises(WeightsError, match=r"lora\.pt: q: lora_A .* do not fit the layer \(8, 8\)"):
        load_into(
            module,
            {"q.weight": torch.zeros(8, 8)},
            where="base.pt",
            device=CPU,
            dtype=torch.float32,
            lora=lora,
        )
