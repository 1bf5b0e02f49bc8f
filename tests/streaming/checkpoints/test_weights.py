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
