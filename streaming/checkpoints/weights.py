"""Published checkpoint files -> modules, without ever holding a file twice.

Files are memory-mapped and read with `weights_only=True`; tensors are merged, cast and placed one at a time.
Layouts: LongLive (`longlive_base.pt`, `lora.pt`), VACE safetensors, Wan VAE, TAEHV, umT5, VACE's scribble
network.
"""

import logging
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

logger = logging.getLogger(__name__)

State = Mapping[str, Tensor]

# How to tell what a file is by one of its keys, for the message when it is not what was asked for.
_FINGERPRINTS = {
    "a LoRA adapter": r"lora_[AB]\.(default\.)?weight$",
    "VACE weights": r"^vace_blocks\.",
    "a Wan transformer": r"(^|\.)blocks\.\d+\.self_attn\.q\.weight$",
    "a umT5 encoder with Wan's names": r"^blocks\.\d+\.pos_embedding\.embedding\.weight$",
    "a umT5 encoder with transformers' names": r"DenseReluDense",
    "a Wan VAE": r"^decoder\.upsamples\.",
    "a TAEHV autoencoder": r"^decoder\.\d+\.conv\.0\.weight$",
    "a scribble network": r"^model2\.\d+\.conv_block\.1\.weight$",
}


class WeightsError(ValueError):
    """A checkpoint that cannot be used; the text names the file, what is wrong and what was expected."""


@dataclass(frozen=True, slots=True)
class SafetensorsState(Mapping[str, Tensor]):
    """Tensors of a safetensors file, read when asked for."""

    path: Path
    names: tuple[str, ...]

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.names:
            raise KeyError(key)
        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_file(path: str | Path) -> Mapping[str, object]:
    """The top level of a checkpoint: tensors by name, or a container of such. Raises WeightsError."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return SafetensorsState(path, tuple(file.keys()))
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read; is it complete? ({error})") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected tensors by name, got {type(content).__name__}")
    return content


def describe(names: Mapping[str, object]) -> str:
    """What a file looks like, by its keys."""
    for what, pattern in _FINGERPRINTS.items():
        if any(re.search(pattern, name) for name in names):
            return what
    return "nothing known here"


def _inside(content: Mapping[str, object], containers: tuple[str, ...], path: str | Path) -> State:
    """The tensors of a file, below the first of `containers` that it has."""
    inner = next((content[name] for name in containers if name in content), content)
    if not isinstance(inner, Mapping) or not all(isinstance(inner[key], Tensor) for key in inner):
        raise WeightsError(f"{path}: expected tensors by name below one of {containers} or at the top")
    return cast(State, inner)


def generator_state(path: str | Path) -> State:
    """`longlive_base.pt`: container `generator` (or `generator_ema`, `model`), every name prefixed
    `model.`."""
    content = _inside(read_file(path), ("generator", "generator_ema", "model"), path)
    cleaned = {key.replace("_fsdp_wrapped_module.", ""): value for key, value in content.items()}
    prefixed = bool(cleaned) and all(key.startswith("model.") for key in cleaned)
    return {key.removeprefix("model."): v for key, v in cleaned.items()} if prefixed else cleaned


def vace_state(path: str | Path, *, patch_embedding: bool = True) -> State:
    """The branch alone; base weights that lie in the same file are not LongLive's and stay unread.

    Without `patch_embedding`, `vace_patch_embedding` stays unread too: it is for 96 channels of control.
    """
    content = read_file(path)
    wanted = ("vace_blocks.", "vace_patch_embedding.") if patch_embedding else ("vace_blocks.",)
    names = tuple(key for key in content if key.startswith(wanted))
    if not names:
        raise WeightsError(f"{path}: holds no VACE weights; it looks like {describe(content)}")
    if isinstance(content, SafetensorsState):
        return SafetensorsState(content.path, names)
    return _inside({name: content[name] for name in names}, (), path)


def plain_state(path: str | Path) -> State:
    """Files without a container: Wan VAE, TAEHV, umT5."""
    content = read_file(path)
    return content if isinstance(content, SafetensorsState) else _inside(content, (), path)


def taehv_state(path: str | Path, module: nn.Module) -> State:
    """`taew2_1.pth`. Its TGrow layers may have more rows than `module` needs: the last ones count."""
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    return {
        key: value[-shapes[key][0] :] if key.endswith(".conv.weight") and key in shapes else value
        for key, value in plain_state(path).items()
    }


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank updates by module name. The published adapter has alpha = rank, so its scale is 1."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]  # module -> A (rank, in), B (out, rank)
    scale: float = 1.0

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """W + scale * B A in float32 for the weight of a target module; any other tensor as it is."""
        pair = self.pairs.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if pair is None:
            return weight
        down, up = (matrix.to(weight.device, torch.float32) for matrix in pair)
        return weight.float() + self.scale * (up @ down)


def _spared(module: nn.Module, lora: Lora) -> list[str]:
    """Linear layers that the LoRA could change and does not: the published one has all of the blocks."""
    parts = {name.split(".")[0] for name in lora.pairs}
    linear = (name for name, layer in module.named_modules() if isinstance(layer, nn.Linear))
    return [name for name in linear if name.split(".")[0] in parts and name not in lora.pairs]


def lora_file(path: str | Path, *, alpha_over_rank: float = 1.0) -> Lora:
    """`lora.pt`: PEFT names, below `generator_lora` or bare."""
    return parse_lora(_inside(read_file(path), ("generator_lora",), path), alpha_over_rank, where=str(path))


def parse_lora(state: State, alpha_over_rank: float = 1.0, *, where: str = "LoRA") -> Lora:
    """PEFT names, `base_model.model.<module>.lora_A[.default].weight` -> Lora. Raises WeightsError."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = re.fullmatch(
            r"(?:base_model\.model\.)?(?:model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight", name
        )
        if not match:
            raise WeightsError(f"{where}: {name!r} is no LoRA tensor; the file looks like {describe(state)}")
        halves.setdefault(match[1], {})[match[2]] = value
    for module, pair in halves.items():
        if pair.keys() != {"A", "B"}:
            raise WeightsError(
                f"{where}: {module} has lora_{next(iter(pair))} only, expected lora_A and lora_B"
            )
    return Lora({module: (pair["A"], pair["B"]) for module, pair in halves.items()}, alpha_over_rank)


def require_keys(wanted: Iterable[str], state: State, where: str | Path) -> None:
    """Raises WeightsError naming the first missing and unexpected key, and what the file looks like
    instead."""
    wanted = dict.fromkeys(wanted)
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        raise WeightsError(
            f"{where}: {len(missing)} keys missing (first: {next(iter(missing), 'none')}), "
            f"{len(unexpected)} unexpected (first: {next(iter(unexpected), 'none')}); "
            f"the file looks like {describe(state)}"
        )


def require_shape(key: str, value: Tensor, shape: torch.Size, where: str | Path) -> None:
    """Raises WeightsError for a tensor of another shape."""
    if value.shape != shape:
        raise WeightsError(f"{where}: {key} is {tuple(value.shape)}, expected {tuple(shape)}")


def load_into(
    module: nn.Module,
    state: State,
    *,
    where: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    lora: Lora | None = None,
    only: str | None = None,
) -> None:
    """Give `module` (it may be on the meta device) the tensors of `state`, each straight to `device` and
    `dtype`.

    `only` is a pattern of the parameters that this file is to bring (None: all). A LoRA is merged in float32
    before the cast. Raises WeightsError naming the first missing, unexpected or misshapen key.
    """
    wanted = {key: v.shape for key, v in module.state_dict().items() if only is None or re.match(only, key)}
    require_keys(wanted, state, where)
    if lora and (strangers := [name for name in lora.pairs if f"{name}.weight" not in wanted]):
        raise WeightsError(f"{where}: the LoRA is for {strangers[0]!r}, which this model does not have")
    if lora and (spared := _spared(module, lora)):
        logger.warning("%s: the LoRA leaves %d layers alone, %s the first", where, len(spared), spared[0])
    for key, shape in wanted.items():
        value = state[key]
        require_shape(key, value, shape, where)
        value = lora.merged(key, value.to(device)) if lora else value
        module.load_state_dict({key: value.to(device, dtype)}, strict=False, assign=True)
