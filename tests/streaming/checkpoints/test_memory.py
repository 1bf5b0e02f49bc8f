"""What a preset needs, counted without allocating it, against what is free."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from streaming.api import CHUNK
from streaming.blocks.recache import recache
from streaming.blocks.text_conditioning import CONTEXTS_KEPT
from streaming.checkpoints import memory
from streaming.checkpoints.memory import (
    DEPTH_MODEL,
    GB,
    KERNELS,
    READING,
    WORKSPACE,
    DoesNotFit,
    Free,
    Needs,
    PeakMemory,
    _passes_peak,
    check,
    fits,
    host_memory,
    needs,
)
from streaming.checkpoints.models import random_models
from streaming.checkpoints.presets import EMBEDDED, LONGLIVE, Preset
from streaming.checkpoints.remote_files import REMOTE_FILES, RemoteFile
from streaming.config import TaehvConfig, WindowConfig
from streaming.depth.chunk_frames import look_at
from streaming.depth.estimators import EdgesDepth
from streaming.kernels.attention import attend
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.wan_vae import WanVaeConfig
from tests.streaming.tiny_preset import tiny_preset

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
TINY = tiny_preset("tiny", TaehvConfig(), width=48)
NARROW = TaehvConfig(encoder_channels=(8, 8, 8, 8), decoder_channels=(16, 8, 8, 8))
LARGER = replace(TINY, name="larger", height=64, width=96)


@pytest.fixture(scope="module")
def longlive() -> Needs:
    return needs(LONGLIVE, torch.bfloat16)


@pytest.fixture
def no_passes(monkeypatch: pytest.MonkeyPatch):
    """For who asks only what a stream keeps: the transformer's passes, most of a count, are left out, and
    nothing of that is remembered."""
    monkeypatch.setattr(memory, "_counted", memory._counted.__wrapped__)
    monkeypatch.setattr(memory, "_passes_peak", lambda preset, dtype: 0)


def tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name))


def num_bytes(value: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(value))


@pytest.mark.parametrize(
    ("dtype", "autoencoder", "decoder"),
    [
        (torch.float32, WanVaeConfig(dim=4), None),
        (torch.bfloat16, WanVaeConfig(dim=4), NARROW),
        (torch.float32, NARROW, None),
    ],
    ids=["vae", "vae and taehv", "taehv"],
)
def test_counted_bytes_are_those_of_real_networks_and_caches(
    dtype: torch.dtype,
    autoencoder: WanVaeConfig | TaehvConfig,
    decoder: TaehvConfig | None,
    no_passes: None,
):
    """The same networks on the CPU, with numbers in them, after two chunks. Encoded are what a mask keeps,
    depth, gray and lines, and the camera that chunks start from; a third chunk's frames are seen ahead."""
    preset = replace(TINY, autoencoder=autoencoder, height=16, width=32)
    counted = needs(preset, dtype, decoder)
    models = random_models(replace(preset, decoder=decoder), device=CPU, dtype=dtype)
    networks = {
        id(network): network
        for network in (models.transformer, models.autoencoder, models.decoder, models.text_encoder)
    }
    weights = [parameter for network in networks.values() for parameter in network.parameters()]
    assert counted.weights == sum(weight.numel() * weight.element_size() for weight in weights)

    cache = models.transformer.new_cache(preset.window, *preset.latent_size)
    encoded = decoded = None
    with torch.inference_mode():
        context = models.transformer.encode_text(torch.zeros(1, 8, 16, dtype=dtype))
        for frames in (9, 12):
            video = torch.zeros(1, frames, 3, preset.height, preset.width, dtype=dtype)
            latents, encoded = models.autoencoder.encode(video, encoded)
            _, decoded = models.decoder.decode(latents, decoded)
        picture = np.zeros((preset.height, preset.width, 3), np.uint8)
        frames_ahead = look_at([picture] * CHUNK, preset.height, preset.width, CPU, EdgesDepth(CPU))
    ahead = sum(map(num_bytes, frames_ahead))
    assert counted.session == cache.num_bytes + 5 * num_bytes(encoded) + num_bytes(decoded) + ahead
    assert counted.shared == CONTEXTS_KEPT * num_bytes(context) + num_bytes(encoded)


def test_controls_that_are_not_allowed_take_no_memory(no_passes: None):
    """Each that is takes an encoder's memory; what one video shows of several, one for all."""
    depth, two, everything = (
        needs(TINY.with_controls(names), torch.float32)
        for names in (("depth",), ("lines", "depth"), ("depth", "gray", "lines"))
    )
    assert everything.session - two.session == two.session - depth.session == depth.encoder > 0
    assert everything.with_one_control().session == depth.session
    layout = (("depth", "gray", "gray"), ("lines", "lines", "lines"))
    packed = needs(replace(TINY, control_videos=layout).with_controls(("depth", "gray")), torch.float32)
    assert packed.session == depth.session


def test_keys_and_values_of_a_stream_follow_the_formula(no_passes: None):
    """2 (k and v) * layers * window * tokens of a latent * heads * head size * bytes, and the sink's keys."""
    wan, size = TINY.transformer, torch.bfloat16.itemsize

    def session(window: WindowConfig) -> int:
        return needs(replace(TINY, window=window), torch.bfloat16).session

    tokens = (TINY.height // 16) * (TINY.width // 16)
    one = 2 * wan.num_layers * tokens * wan.num_heads * wan.head_dim * size
    short, long, moving = (
        session(WindowConfig(local_attn_size=length, sink_size=3, relative=relative))
        for length, relative in ((6, False), (12, False), (12, True))
    )
    assert long - short == 6 * one
    assert moving - long == 3 * one // 2  # un-rotated keys, no values


def test_longlive_needs_what_its_parts_are_known_to(longlive: Needs):
    transformer, vace, vae = 1_418_996_800, 734_975_232, 126_892_531
    text = 6_731_309_056  # the fp8 file without its header
    assert longlive.weights == 2 * (transformer + vace + vae) + text
    keys_and_values = 2 * 30 * 12 * 1560 * 12 * 128 * 2
    assert keys_and_values == pytest.approx(3.450e9, rel=1e-3)
    assert longlive.session > keys_and_values * 9 / 8
    assert longlive.loading == 6_731_333_792 + READING
    assert 20 * GB < longlive.running() < 32 * GB


@pytest.mark.parametrize(("layers", "length"), [(2, 3), (5, 3), (5, 12)])
def test_passes_are_counted_as_if_all_their_blocks_had_run(layers: int, length: int):
    """A short window makes the guided pass the largest, a long one the recache."""
    wan = replace(TINY.transformer, dim=384, ffn_dim=400, num_layers=6, vace_layers=tuple(range(layers)))
    window = WindowConfig(local_attn_size=length, sink_size=0)
    preset = replace(TINY, transformer=wan, window=window, autoencoder=TaehvConfig())

    def empty(*shape: int) -> Tensor:
        return torch.empty(1, *shape, device="meta")

    with torch.device("meta"):
        model = CausalVaceWanModel(wan).requires_grad_(False)
    with torch.inference_mode():
        context = model.encode_text(empty(wan.text_len, wan.text_dim))
        cache = model.new_cache(window, *preset.latent_size)
        for start in range(0, length, 3):
            cache.begin(start, 3)
        control = empty(3, wan.vace_in_dim, *preset.latent_size).expand(3, -1, -1, -1, -1)
        tokens, scales = model.embed_control(control, 3), torch.ones(3, device="meta")
        chunk, times = empty(3, wan.in_dim, *preset.latent_size), torch.zeros(1, 3, device="meta")
        with PeakMemory() as guided:
            model(chunk, times, context, cache, length, control=tokens, control_scale=scales)
        with PeakMemory() as recaching:
            recache(model, empty(length, wan.in_dim, *preset.latent_size), context, cache)
    assert (guided.peak > recaching.peak) == (length == 3)
    with torch.inference_mode():
        counted = _passes_peak(preset, torch.float32)
    assert counted == pytest.approx(max(guided.peak, recaching.peak), rel=0.02)  # LongLive's to the byte


def test_every_stream_adds_its_caches_and_nothing_else(longlive: Needs):
    assert longlive.running(3) - longlive.running(1) == 2 * longlive.session


def test_larger_pictures_need_more():
    small, large = needs(TINY, torch.bfloat16), needs(LARGER, torch.bfloat16)
    assert small.weights == large.weights
    assert small.session < large.session
    assert small.activations < large.activations


def test_depth_network_is_allowed_for():
    without, beside = needs(TINY, torch.bfloat16), needs(TINY, torch.bfloat16, depth_model=True)
    assert beside.activations - without.activations == DEPTH_MODEL


def test_text_encoder_keeps_the_matrices_of_an_fp8_file_narrow(
    monkeypatch: pytest.MonkeyPatch, no_passes: None
):
    wide = needs(TINY, torch.bfloat16).weights
    file = RemoteFile("a/b", "text-fp8_e4m3fn.safetensors", "main", "text_encoder_path", 5 * GB)
    monkeypatch.setitem(REMOTE_FILES, "tiny", (file,))
    narrow = needs(TINY, torch.bfloat16)
    matrices = 4 * 16 * (2 * 4) + 3 * 16 * 16  # q, k, v, o and the three of the feed-forward
    assert wide - narrow.weights == matrices
    assert narrow.loading == 5 * GB + READING


def test_peak_counts_what_lives_at_the_same_time():
    old = torch.empty(1000, device="meta")
    with PeakMemory() as counted:
        first = old + 1
        second = first * 2
        view = second.view(10, 100)
        del first
        third = view + 1
        second.add_(third.flatten())
        old.add_(1)
    assert counted.peak == 2 * 4000
    del second, view, third


def test_attention_has_no_matrix_of_scores():
    """As in the fused kernels of real devices; torch must choose one on the meta device too."""
    q = torch.empty(1, 2000, 2, 64, device="meta", dtype=torch.bfloat16)
    with torch.inference_mode(), PeakMemory() as counted:
        attend(q, q, q)
    assert counted.peak < 2 * 2000 * 2000 * 2


def plan(preset: Preset = LONGLIVE, **bytes_: int) -> Needs:
    sizes = {
        "weights": 10 * GB,
        "shared": GB,
        "session": 2 * GB,
        "activations": 3 * GB,
        "loading": 8 * GB,
        "encoder": 0,
    }
    return Needs(preset=preset, dtype=torch.bfloat16, **(sizes | bytes_))


def test_what_fits_passes():
    exactly = 16 * GB + WORKSPACE + 3 * GB // KERNELS
    check(plan(), CUDA, free=Free(device=exactly, host=8 * GB), others=())
    check(plan(), CPU, free=Free(device=None, host=16 * GB + READING), others=())
    check(plan(), CUDA, free=Free(device=exactly + 2 * GB, host=8 * GB), sessions=2, others=())


def test_what_cannot_be_known_is_not_refused():
    check(plan(), CUDA, free=Free(device=None, host=None), others=())
    check(plan(), CPU, free=Free(device=None, host=None), others=())


@pytest.mark.parametrize(
    ("device", "free", "sessions", "told"),
    [
        (
            CUDA,
            Free(device=12 * GB, host=64 * GB),
            2,
            "longlive-1.3b does not fit: it needs 20.0 GB on cuda:0 (weights 10.0 GB, caches 5.0 GB for "
            "2 streams, work 5.0 GB), 12.0 GB are free; no smaller preset fits",
        ),
        (
            CUDA,
            Free(device=80 * GB, host=4 * GB),
            1,
            "longlive-1.3b does not fit: it needs 8.0 GB of main memory while loading, 4.0 GB are free; "
            "no smaller preset fits",
        ),
        (
            CPU,
            Free(device=None, host=7 * GB),
            1,
            "longlive-1.3b does not fit: it needs 17.0 GB of main memory (weights 10.0 GB, caches 3.0 GB "
            "for 1 stream, work 4.0 GB), 7.0 GB are free; no smaller preset fits",
        ),
    ],
)
def test_refusal_has_both_numbers(device: torch.device, free: Free, sessions: int, told: str):
    with pytest.raises(DoesNotFit) as refused:
        check(plan(), device, free=free, sessions=sessions, others=())
    assert str(refused.value) == told


def test_refusal_names_the_largest_preset_that_fits():
    with pytest.raises(DoesNotFit, match="the largest preset that fits is larger"):
        check(plan(), CPU, free=Free(device=None, host=GB), others=(TINY, LARGER, LONGLIVE))
    with pytest.raises(DoesNotFit, match="the largest preset that fits is embedded"):
        check(plan(), CUDA, free=Free(device=GB, host=GB))
    with pytest.raises(DoesNotFit, match="no smaller preset fits"):
        check(plan(), CPU, free=Free(device=None, host=1000), others=(TINY,))


def test_refusal_proposes_fewer_controls_where_they_fit():
    wanted = plan(session=5 * GB, encoder=GB)
    room = wanted.running() + WORKSPACE + 3 * GB // KERNELS
    told = (
        "longlive-1.3b does not fit with controls depth, gray, lines: it needs .* are free; "
        r"with --controls depth it fits \(17.0 GB\)"
    )
    with pytest.raises(DoesNotFit, match=told):
        check(wanted, CUDA, free=Free(device=room - 2 * GB, host=8 * GB), others=(TINY,))
    with pytest.raises(DoesNotFit, match="no smaller preset fits"):
        check(wanted, CUDA, free=Free(device=room - 2 * GB - 1, host=8 * GB), others=())
    with pytest.raises(DoesNotFit, match="no smaller preset fits"):
        check(plan(LONGLIVE.with_controls(("gray",))), CUDA, free=Free(device=GB, host=8 * GB), others=())


def test_preset_that_is_not_smaller_is_no_advice():
    with pytest.raises(DoesNotFit, match="no smaller preset fits"):
        check(
            plan(EMBEDDED, weights=0, shared=0, session=0, activations=0, loading=GB),
            CUDA,
            free=Free(device=GB, host=GB // 2),
            others=(TINY,),
        )


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   16000000 kB\n"


def test_host_memory_is_what_the_kernel_calls_available(tmp_path: Path):
    assert host_memory(write(tmp_path, proc__meminfo=MEMINFO)) == 16_000_000 * 1024


@pytest.mark.parametrize("group", ["", "app.slice/live"])
def test_limit_of_the_container_counts_what_the_page_cache_would_give_back(tmp_path: Path, group: str):
    write(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup=f"0::/{group}\n")
    folder = tmp_path / "sys/fs/cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text("8000\n")
    (folder / "memory.current").write_text("7000\n")
    (folder / "memory.stat").write_text("anon 4000\ninactive_file 2500\n")
    assert host_memory(tmp_path) == 8000 - 7000 + 2500


def test_container_without_limit_has_the_memory_of_the_machine(tmp_path: Path):
    write(tmp_path, proc__meminfo=MEMINFO)
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text("max\n")
    (folder / "memory.current").write_text("7000\n")
    assert host_memory(tmp_path) == 16_000_000 * 1024


def test_turning_takes_an_encoders_memory_once_for_all_streams(no_passes: None):
    """Whatever depends on the shape is as large in either; empty control is kept in both."""
    preset = replace(TINY, autoencoder=WanVaeConfig(dim=4), height=16, width=32)
    wide, upright = needs(preset, torch.float32), needs(preset.turned(), torch.float32)
    assert replace(upright, preset=preset) == wide
    turning = wide.with_turning()
    assert turning.running(5) - wide.running(5) == wide.encoder > 0


def test_the_passes_of_a_turned_stream_take_as_much():
    wide, upright = (needs(replace(TINY, height=h, width=w), torch.float32) for h, w in ((16, 48), (48, 16)))
    assert wide.activations == upright.activations


def test_what_fits_without_turning_need_not_fit_with_it():
    wanted, exactly = plan(encoder=GB), Free(device=None, host=16 * GB + READING)
    assert fits(wanted, CPU, free=exactly)
    assert not fits(wanted.with_turning(), CPU, free=exactly)
    assert fits(wanted.with_turning(), CPU, free=Free(device=None, host=17 * GB + READING))
