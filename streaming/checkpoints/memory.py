"""Memory that a preset needs, known before anything is loaded.

    check(needs(preset, torch.bfloat16), device, free=free_memory(device))     # raises DoesNotFit

Networks are built on the meta device and run there once: every tensor of a chunk is made, with its size and
without its numbers, so the counts follow the code. Takes half a second for a full-size model.
"""

import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from streaming.api import CHUNK
from streaming.blocks.recache import recache
from streaming.blocks.text_conditioning import CONTEXTS_KEPT
from streaming.checkpoints.models import Models, random_models
from streaming.checkpoints.presets import PRESETS, AutoencoderConfig, Preset
from streaming.checkpoints.remote_files import REMOTE_FILES
from streaming.config import CHUNK_LATENTS
from streaming.modules.causal_vace_model import CausalVaceWanModel

GB = 10**9
READING = GB  # beside the largest file, which is mapped while its tensors move: the loaders keep below that
WORKSPACE = GB // 2  # what CUDA takes for itself; an allowance, not a measurement
# Its kernels, recorded passes and tuned convolutions take half of the activations: with all optimizations
# an H100 peaked at 36.5 GB where everything else adds up to 32.7, 7.1 of them these.
KERNELS = 2
SEEN_BYTES = 3 + 4  # of a pixel of a frame that was seen ahead: colours, and depth in float32
DEPTH_MODEL = 3 * GB // 2  # Depth-Anything-V2-Small and a chunk's batch; an allowance, not a measurement

_META = torch.device("meta")


class DoesNotFit(ValueError):
    """The memory is too small; the text has both numbers and what would fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Bytes that one preset takes."""

    preset: Preset
    dtype: torch.dtype
    weights: int
    shared: int  # of all sessions: text contexts, the encoder's memory of empty control
    session: int  # caches of one stream
    activations: int  # the largest step of a chunk; sessions take turns
    loading: int  # main memory while the weights go to another device
    encoder: int  # an encoder's memory: a session has one for each control video that it may use, and two

    def with_one_control(self) -> "Needs":
        """Of the same preset with no control allowed but its first; at most, since passes are not counted
        again."""
        preset = self.preset.with_controls(self.preset.allowed_controls[:1])
        dropped = len(self.preset.usable_videos) - len(preset.usable_videos)
        return replace(self, preset=preset, session=self.session - dropped * self.encoder)

    def with_turning(self) -> "Needs":
        """With streams of the other shape of picture, too. Their caches, and what passes take, are as large:
        it is the encoder's memory of empty control that there is once more."""
        return replace(self, shared=self.shared + self.encoder)

    def running(self, sessions: int = 1) -> int:
        """On the device, with so many streams open."""
        return self.weights + self.shared + sessions * self.session + self.activations


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """Bytes to be had now; None where that cannot be known."""

    device: int | None
    host: int | None


def needs(
    preset: Preset,
    dtype: torch.dtype,
    decoder: AutoencoderConfig | None = None,
    *,
    depth_model: bool = False,
) -> Needs:
    """Pure; nothing of the size of the model is allocated.

    `decoder` replaces the preset's (TAEHV instead of the VAE). `depth_model`: a depth network runs beside it.
    """
    preset = replace(preset, decoder=decoder or preset.decoder)
    counted = _counted(preset, dtype)
    files = REMOTE_FILES.get(preset.name, ())
    weights = counted.weights
    if any("fp8" in file.path for file in files if file.role == "text_encoder_path"):
        weights -= counted.kept_narrow
    largest = max((file.size or 0 for file in files), default=0)
    drawn = weights * torch.float32.itemsize // dtype.itemsize  # without files: in main memory, then moved
    return Needs(
        preset=preset,
        dtype=dtype,
        weights=weights,
        shared=CONTEXTS_KEPT * counted.context + counted.encoder,
        # Encoders: the camera that chunks start from, what a mask keeps, and each control video.
        session=counted.keys_and_values
        + (2 + len(preset.usable_videos)) * counted.encoder
        + counted.decoder
        + CHUNK * preset.height * preset.width * SEEN_BYTES,
        encoder=counted.encoder,
        activations=counted.peak + (DEPTH_MODEL if depth_model else 0),
        loading=largest + READING if largest else drawn,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Bytes of what a preset's networks hold and make, whatever files they come from."""

    weights: int
    kept_narrow: int  # what an fp8 file saves of the weights, since the text encoder keeps its matrices so
    context: int
    keys_and_values: int
    encoder: int
    decoder: int
    peak: int


@lru_cache(maxsize=16)
def _counted(preset: Preset, dtype: torch.dtype) -> _Counted:
    """Takes a second; a process that loads an engine anew, or looks for a preset that fits, asks again."""
    with _META:
        models = random_models(preset, device=_META, dtype=dtype)
    with torch.inference_mode():
        cache = models.transformer.new_cache(preset.window, *preset.latent_size)
        context = models.transformer.encode_text(
            _empty(dtype, preset.transformer.text_len, preset.transformer.text_dim)
        )
        peak, encoder, decoder = _run_autoencoders(models, preset, dtype)
        peak = max(peak, _passes_peak(preset, dtype))
    text = models.text_encoder
    networks = {id(network): network for network in (models.transformer, models.autoencoder, models.decoder)}
    matrices = [layer.weight for layer in text.modules() if isinstance(layer, nn.Linear)]
    return _Counted(
        weights=sum(_parameter_bytes(network) for network in (*networks.values(), text)),
        kept_narrow=sum(weight.numel() * (weight.element_size() - 1) for weight in matrices),
        context=_num_bytes(context),
        keys_and_values=cache.num_bytes,
        encoder=encoder,
        decoder=decoder,
        peak=peak,
    )


def check(
    wanted: Needs,
    device: torch.device,
    *,
    free: Free,
    sessions: int = 1,
    others: Iterable[Preset] = tuple(PRESETS.values()),
) -> None:
    """Raises DoesNotFit unless `wanted` fits into what is free; the text names what would: fewer controls,
    or the largest of `others` that does."""
    if not (short := _shortage(wanted, device, free, sessions)):
        return
    fewer = wanted.with_one_control()
    if not _shortage(fewer, device, free, sessions):
        (name,) = fewer.preset.allowed_controls
        raise DoesNotFit(
            f"{wanted.preset.name} does not fit with controls {', '.join(wanted.preset.allowed_controls)}: "
            f"{short}; with --controls {name} it fits ({_gb(fewer.running(sessions))})"
        )
    smaller = [needs(other, wanted.dtype) for other in others if other.name != wanted.preset.name]
    fitting = [
        other
        for other in smaller
        if other.running(sessions) < wanted.running(sessions) and not _shortage(other, device, free, sessions)
    ]
    advice = "no smaller preset fits"
    if fitting:
        best = max(fitting, key=lambda other: other.running(sessions))
        advice = f"the largest preset that fits is {best.preset.name} ({_gb(best.running(sessions))})"
    raise DoesNotFit(f"{wanted.preset.name} does not fit: {short}; {advice}")


def fits(wanted: Needs, device: torch.device, *, free: Free, sessions: int = 1) -> bool:
    """Whether `check` would let it pass."""
    return not _shortage(wanted, device, free, sessions)


def free_memory(device: torch.device) -> Free:
    """What can be had now on `device` and in main memory."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    return Free(device=on_device, host=host_memory())


def host_memory(root: Path = Path("/")) -> int | None:
    """Main memory that can be had without swapping, under the limit of the container; None: unknown."""
    found: list[int] = []
    meminfo = _numbers(root / "proc/meminfo")
    if "MemAvailable" in meminfo:
        found.append(meminfo["MemAvailable"] * 1024)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: all there is
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    groups = re.findall(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    for group in dict.fromkeys(["", *groups]):
        folder = root / "sys/fs/cgroup" / group
        limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
        if limit.isdigit() and used.isdigit():
            cached = _numbers(folder / "memory.stat").get("inactive_file", 0)  # given back when asked for
            found.append(max(0, int(limit) - int(used) + cached))
    return min(found, default=None)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _numbers(path: Path) -> Mapping[str, int]:
    """Lines of a name and a number, as the kernel writes them."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):?\s+(\d+)", _text(path), re.MULTILINE)}


def _gb(count: int) -> str:
    return f"{count / GB:.1f} GB"


def _shortage(wanted: Needs, device: torch.device, free: Free, sessions: int) -> str:
    """Which memory is too small, in words; empty when all is well."""
    has_own_memory = device.type == "cuda"
    on_gpu = WORKSPACE + wanted.activations // KERNELS
    beside = on_gpu if has_own_memory else min(wanted.loading, READING)
    running = wanted.running(sessions) + beside
    work = wanted.activations + beside
    streams = f"{sessions} stream{'s' if sessions > 1 else ''}"
    parts = f"weights {_gb(wanted.weights)}, caches {_gb(running - wanted.weights - work)} for {streams}, "
    parts += f"work {_gb(work)}"
    if has_own_memory and free.device is not None and free.device < running:
        return f"it needs {_gb(running)} on {device} ({parts}), {_gb(free.device)} are free"
    if has_own_memory and free.host is not None and free.host < wanted.loading:
        return f"it needs {_gb(wanted.loading)} of main memory while loading, {_gb(free.host)} are free"
    if not has_own_memory and free.host is not None and free.host < running:
        return f"it needs {_gb(running)} of main memory ({parts}), {_gb(free.host)} are free"
    return ""


def _parameter_bytes(network: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


def _passes_peak(preset: Preset, dtype: torch.dtype) -> int:
    """Bytes of the largest pass of a stream that has filled its window: guided by all controls, or a recache.

    Blocks take turns, and what each of the branch adds is its hint. So two of them and three tell what all
    take, in a tenth of the time. A recache and the embedding take the same however many there are.
    """
    window, channels, size = preset.window.local_attn_size, preset.transformer.in_dim, preset.latent_size
    latents = _empty(dtype, CHUNK_LATENTS, channels, *size)
    past = _empty(dtype, window, channels, *size)
    control = _empty(dtype, CHUNK_LATENTS, preset.transformer.vace_in_dim, *size)
    control = control.expand(len(preset.usable_videos), -1, -1, -1, -1)
    scales = torch.ones(len(control), device=_META)
    timesteps = torch.zeros(1, CHUNK_LATENTS, device=_META)
    guided: list[int] = []
    for blocks in (2, 3):
        config = replace(preset.transformer, num_layers=blocks, vace_layers=tuple(range(blocks)))
        with _META:
            thin = CausalVaceWanModel(config).to(dtype).requires_grad_(False)
        context = thin.encode_text(_empty(dtype, config.text_len, config.text_dim))
        cache = thin.new_cache(preset.window, *size)
        for start in range(0, window, CHUNK_LATENTS):
            cache.begin(start, CHUNK_LATENTS)
        with PeakMemory() as embedding:
            tokens = thin.embed_control(control, CHUNK_LATENTS)
        with PeakMemory() as passing:
            thin(latents, timesteps, context, cache, window, control=tokens, control_scale=scales)
        guided.append(passing.peak)
    with PeakMemory() as remembering:
        recache(thin, past, context, cache)
    two, three = guided
    deep = two + (len(preset.transformer.vace_layers) - 2) * (three - two)
    return max(embedding.peak, remembering.peak, deep)


def _run_autoencoders(models: Models, preset: Preset, dtype: torch.dtype) -> tuple[int, int, int]:
    """Bytes of their largest step, of an encoder's and of a decoder's cache."""
    autoencoder, decoder = models.autoencoder, models.decoder
    latents = _empty(dtype, CHUNK_LATENTS, preset.transformer.in_dim, *preset.latent_size)
    stride = autoencoder.config.time_stride
    first = _empty(dtype, (CHUNK_LATENTS - 1) * stride + 1, 3, preset.height, preset.width)
    later = _empty(dtype, CHUNK_LATENTS * stride, 3, preset.height, preset.width)
    peaks: list[int] = []

    def run(step: Callable[[], Any]) -> Any:
        with PeakMemory() as memory:
            result = step()
        peaks.append(memory.peak)
        return result

    encoder_cache = run(lambda: autoencoder.encode(first, None))[1]
    encoder_cache = run(lambda: autoencoder.encode(later, encoder_cache))[1]
    decoder_cache = run(lambda: decoder.decode(latents, None))[1]
    decoder_cache = run(lambda: decoder.decode(latents, decoder_cache))[1]
    return max(peaks), _num_bytes(encoder_cache), _num_bytes(decoder_cache)


def _empty(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.empty(1, *shape, device=_META, dtype=dtype)


def _num_bytes(value: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))


def _tensors(value: object) -> Iterator[Tensor]:
    """All tensors of a cache, whatever dataclasses and tuples it is made of."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


class PeakMemory(TorchDispatchMode):
    """Counts the tensors that live at the same time; `peak` is the most there were, in bytes.

    with PeakMemory() as memory: ...
    Tensors that were there before do not count, nor does what kernels allocate inside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._live: dict[int, int] = {}  # storage -> bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._live and not self._was_there(key, args):  # else a view, or written in place
                self._live[key] = storage.nbytes()
                self._now += storage.nbytes()
                weakref.finalize(storage, self._forget, key)
        self.peak = max(self.peak, self._now)
        return result

    def _was_there(self, key: int, args: Any) -> bool:
        return any(tensor.untyped_storage()._cdata == key for tensor in _tensors(args))

    def _forget(self, key: int) -> None:
        self._now -= self._live.pop(key)
