"""Published checkpoint files -> modules, without ever holding a file twice.

Files are memory-mapped and read with `weights_only=True`; tensors are merged, cast and placed one at a time.
Layouts: LongLive (`longlive_base.pt`, `lora.pt`), VACE safetensors, Wan VAE, TAEHV, umT5, VACE's scribble
network.
"""

import json
import logging
import pickle
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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


# What files are that only look like weights, by how they begin, and what to do about it.
_NO_WEIGHTS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`",
    b"<": "a web page, not the file itself: download it again, logged in where that is needed",
    b"{": "a text in JSON, not weights: expected .pt, .pth or .safetensors",
    b"GGUF": "in GGUF, which is not read: expected .pt, .pth or .safetensors",
    b"\x1f\x8b": "packed with gzip: unpack it first",
}
# Parts of names that training puts around a model: DDP, torch.compile, FSDP, activation checkpoints.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


# What the libraries raise for broken files: unpickling raises what its steps meet.
READ_ERRORS = (
    *(SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, struct.error),
    *(ValueError, LookupError, AttributeError, TypeError),
)


class WeightsError(ValueError):
    """A checkpoint that cannot be used; the text names the file, what is wrong and what was expected."""


@dataclass(frozen=True, slots=True)
class SafetensorsState(Mapping[str, Tensor]):
    """Tensors of a safetensors file, read when asked for."""

    file: safe_open  # opened once: each time its whole header is read
    names: Mapping[str, str]  # as a plain model has them -> as the file has them

    def __getitem__(self, key: str) -> Tensor:
        return self.file.get_tensor(self.names[key])

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
        with path.open("rb") as file:
            head = file.read(64)
        # Its header, in JSON, stands behind the header's length, whatever the file is called.
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            opened = safe_open(path, framework="pt")
            return SafetensorsState(opened, _plain_names(opened.keys(), path))
        if reason := _no_weights(head):
            raise WeightsError(f"{path}: is {reason}")
        # Only archives can be mapped; what torch wrote before 1.6 is read whole.
        content = torch.load(path, map_location="cpu", mmap=head.startswith(b"PK"), weights_only=True)
    except WeightsError:
        raise
    except READ_ERRORS as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # without the library's advice
        raise WeightsError(f"{path}: cannot be read; is it complete? ({reason})") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected tensors by name, got {type(content).__name__}")
    return content


def _no_weights(head: bytes) -> str | None:
    """What a file is that begins so, if not weights."""
    if not head.strip():
        return "empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for start, what in _NO_WEIGHTS.items() if text.startswith(start)), None)


def _plain_names(names: Iterable[str], path: str | Path) -> dict[str, str]:
    """Name without what training wrapped around the model -> name in the file. Raises WeightsError."""
    plain: dict[str, str] = {}
    for name in names:
        short = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if short in plain:
            raise WeightsError(f"{path}: {plain[short]!r} and {name!r} are one tensor, {short!r}, twice")
        plain[short] = name
    return plain


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
    if isinstance(inner, SafetensorsState):
        return inner
    inner = cast(State, inner)
    return {short: inner[name] for short, name in _plain_names(inner, path).items()}


def generator_state(path: str | Path) -> State:
    """`longlive_base.pt`: container `generator` (or `generator_ema`, `model`), every name prefixed
    `model.`."""
    content = _inside(read_file(path), ("generator", "generator_ema", "model"), path)
    prefixed = bool(content) and all(key.startswith("model.") for key in content)
    return {key.removeprefix("model."): v for key, v in content.items()} if prefixed else content


def vace_state(path: str | Path, *, patch_embedding: bool = True) -> State:
    """The branch alone; base weights that lie in the same file are not LongLive's and stay unread.

    Without `patch_embedding`, `vace_patch_embedding` stays unread too: it is for 96 channels of control.
    """
    content = read_file(path)
    if not isinstance(content, SafetensorsState):
        content = {short: content[name] for short, name in _plain_names(content, path).items()}
    wanted = ("vace_blocks.", "vace_patch_embedding.") if patch_embedding else ("vace_blocks.",)
    names = [key for key in content if key.startswith(wanted)]
    if not names:
        raise WeightsError(f"{path}: holds no VACE weights; it looks like {describe(content)}")
    if isinstance(content, SafetensorsState):
        return SafetensorsState(content.file, {name: content.names[name] for name in names})
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
    scales: Mapping[str, float] = field(default_factory=dict[str, float])  # of modules that have their own
    where: str = "LoRA"  # the file, for messages

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """W + scale * B A in float32 for the weight of a target module; any other tensor as it is.

        Raises WeightsError for a pair that does not fit the weight.
        """
        module = name.removesuffix(".weight")
        pair = self.pairs.get(module) if name.endswith(".weight") else None
        if pair is None:
            return weight
        down, up = (matrix.to(weight.device, torch.float32) for matrix in pair)
        shapes = [tuple(matrix.shape) for matrix in (down, up, weight)]
        if weight.ndim != 2 or shapes[:2] != [(len(down), shapes[2][1]), (shapes[2][0], len(down))]:
            raise WeightsError(
                f"{self.where}: {module}: lora_A {shapes[0]} and lora_B {shapes[1]} do not fit the layer "
                f"{shapes[2]}: expected (rank, {shapes[2][-1]}) and ({shapes[2][0]}, rank)"
            )
        return weight.float() + self.scales.get(module, self.scale) * (up @ down)


def _spared(module: nn.Module, lora: Lora) -> list[str]:
    """Linear layers that the LoRA could change and does not: the published one has all of the blocks."""
    parts = {name.split(".")[0] for name in lora.pairs}
    linear = (name for name, layer in module.named_modules() if isinstance(layer, nn.Linear))
    return [name for name in linear if name.split(".")[0] in parts and name not in lora.pairs]


ADAPTER_CONFIG = "adapter_config.json"


def lora_file(path: str | Path) -> Lora:
    """`lora.pt`: PEFT names, below `generator_lora` or bare.

    Alpha, which over the rank is the scale, is a tensor beside each pair, or in the file's metadata, or in
    `adapter_config.json` beside the file; where none of them is, it is the rank. Raises WeightsError.
    """
    content = read_file(path)
    state = _inside(content, ("generator_lora",), path)
    return parse_lora(state, _lora_settings(Path(path), content), where=str(path))


def parse_lora(state: State, settings: Mapping[str, object] | None = None, *, where: str = "LoRA") -> Lora:
    """PEFT names, `base_model.model.<module>.lora_A[.default].weight` -> Lora. Raises WeightsError.

    `settings`: `lora_alpha`, `use_rslora` and `alpha_pattern` as in PEFT's `adapter_config.json`.
    """
    halves: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for name, value in state.items():
        match = re.fullmatch(
            r"(?:base_model\.model\.|diffusion_model\.)?(?:model\.)?(.+)\."
            r"(?:lora_(A|B|down|up)(?:\.default)?\.weight|(alpha))",
            name,
        )
        if not match or (match[3] and value.numel() != 1):
            raise WeightsError(f"{where}: {name!r} is no LoRA tensor; the file looks like {describe(state)}")
        if match[3]:
            alphas[match[1]] = float(value)
        else:
            half = {"down": "A", "up": "B"}.get(match[2], match[2])
            halves.setdefault(match[1], {})[half] = value
    for module, pair in halves.items():
        if pair.keys() != {"A", "B"}:
            raise WeightsError(
                f"{where}: {module} has lora_{next(iter(pair))} only, expected lora_A and lora_B"
            )
    settings = settings or {}
    scales: dict[str, float] = {}
    for module, pair in halves.items():
        alpha = alphas.get(module, _alpha(settings, module, where))
        rank = max(len(pair["A"]), 1) if pair["A"].ndim else 1
        if alpha is not None:
            scales[module] = alpha / (rank**0.5 if settings.get("use_rslora") is True else rank)
    return Lora(
        {module: (pair["A"], pair["B"]) for module, pair in halves.items()}, scales=scales, where=where
    )


def _lora_settings(path: Path, content: Mapping[str, object]) -> Mapping[str, object]:
    """What the file's metadata, or else the configuration beside it, says of the adapter."""
    if isinstance(content, SafetensorsState):
        metadata: Mapping[str, str] = content.file.metadata() or {}
        if text := metadata.get("lora_adapter_metadata"):
            found = _object(text, f"{path}: its metadata")
            # diffusers puts the part of the pipeline in front, as transformer.lora_alpha
            return {name.rpartition(".")[2]: value for name, value in found.items()}
        alpha = metadata.get("lora_alpha", metadata.get("ss_network_alpha"))
        if alpha is not None:
            return {"lora_alpha": alpha}
    beside = path.with_name(ADAPTER_CONFIG)
    if not beside.is_file():
        return {}
    try:
        return _object(beside.read_text(encoding="utf-8-sig"), str(beside))
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{beside}: cannot be read ({error})") from error


def _object(text: str, where: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where}: is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{where}: expected an object, got {type(found).__name__}")
    return cast(dict[str, object], found)


def _alpha(settings: Mapping[str, object], module: str, where: str) -> float | None:
    pattern = settings.get("alpha_pattern")
    own = cast(Mapping[str, object], pattern) if isinstance(pattern, dict) else {}
    # As PEFT reads it: a name, or an expression for the end of one.
    try:
        value = next(
            (alpha for name, alpha in own.items() if re.fullmatch(rf"(.*\.)?({name})", module)),
            settings.get("lora_alpha"),
        )
    except re.error as error:
        raise WeightsError(f"{where}: alpha_pattern has a name that is no expression ({error})") from error
    if value is None:
        return None
    try:
        alpha = float(cast(str, value))
    except (TypeError, ValueError):
        alpha = float("nan")
    if not 0 <= alpha < float("inf"):
        raise WeightsError(f"{where}: lora_alpha is {value!r}, expected a number of at least 0")
    return alpha


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
        # The owner alone: a load of the whole module looks through all its layers, for each of the tensors.
        owner, _, name = key.rpartition(".")
        module.get_submodule(owner).load_state_dict(
            {name: value.to(device, dtype)}, strict=False, assign=True
        )
