"""This project's answers to the parity cases: case name -> function(case) -> {output name: tensor}.

Public modules only, no mathematics of its own; sizes, windows and step lists come from the case.
Left out on purpose: upstream's counters (`global_end_index`, `local_end_index`, `n_forward_calls`), and the
contents of the key cache in the relative ("infinity") variant, which stores un-rotated keys where ours are
rotated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import ByT5Tokenizer

from streaming.blocks.denoise import Denoiser
from streaming.blocks.recache import recache
from streaming.blocks.vace_encoding import Control, VaceEncodingBlock, mask_latents, split_by_mask
from streaming.checkpoints.weights import load_into, parse_lora
from streaming.config import SamplerConfig, TaehvConfig, TextConfig, WanConfig, WindowConfig
from streaming.modules import rope as rope_module
from streaming.modules.causal_model import CausalWanModel, RingKVCache, TextContext, sinusoidal_embedding
from streaming.modules.causal_vace_model import CausalVaceWanModel
from streaming.modules.scheduler import FlowMatchSchedule, add_noise, x0_from_flow
from streaming.modules.taehv import TAEHV
from streaming.modules.text_encoder import TextEncoder
from streaming.modules.wan_vae import EncoderCache, WanVAE, WanVaeConfig
from tests.streaming.stream_order import stream_order


def wan_model(case) -> CausalWanModel:
    extra = {key: case.meta[key] for key in ("vace_layers", "vace_in_dim") if key in case.meta}
    config = WanConfig.from_published(case.config | extra)
    model = (CausalVaceWanModel if config.vace_layers else CausalWanModel)(config)
    model.load_state_dict(case.weights)
    return model.eval()


def window(case, *, relative: bool = False) -> WindowConfig:
    sizes = {key: case.config[key] for key in ("local_attn_size", "sink_size")}
    return WindowConfig(**sizes, relative=relative)


def new_cache(case, model: CausalWanModel, *, relative: bool = False) -> RingKVCache:
    return model.new_cache(window(case, relative=relative), *case.meta["latent_hw"])


def per_latent(timestep: Tensor | float, latents: Tensor) -> Tensor:
    return torch.as_tensor(timestep, dtype=torch.float32).reshape(1, -1).expand(latents.shape[:2])


def chunks(case) -> Iterator[tuple[int, slice]]:
    size = case.meta["frames_per_chunk"]
    for index in range(case.meta["chunks"]):
        yield index, slice(index * size, (index + 1) * size)


def watch(modules: Iterable[nn.Module]) -> dict[int, Tensor]:
    """The latest output of each module, by its place."""
    seen: dict[int, Tensor] = {}
    for index, module in enumerate(modules):
        module.register_forward_hook(lambda _m, _a, out, index=index: seen.__setitem__(index, out))
    return seen


def watch_hints(model: CausalVaceWanModel) -> dict[int, Tensor]:
    return watch(block.after_proj for block in model.vace_blocks)


def causal_dit(case, *, relative: bool = False) -> dict[str, Tensor]:
    model, x = wan_model(case), case.inputs
    cache, context, seen = (
        new_cache(case, model, relative=relative),
        model.encode_text(x["context"]),
        watch(model.blocks),
    )
    out: dict[str, Tensor] = {}
    for index, part in chunks(case):
        for name, latents, t in (
            ("ta", "noisy_a", x["t_a"]),
            ("tb", "noisy_b", x["t_b"]),
            ("clean", "clean", 0),
        ):
            chunk = x[latents][:, part]
            flow = model(chunk, per_latent(t, chunk), context, cache, part.start)
            out[f"flow_chunk{index}_{name}"] = flow
            if name == "ta":
                out |= {f"block{n}_chunk{index}_ta": value for n, value in seen.items()}
        if index == 0:
            out["kcache_layer0_after_chunk0"] = stream_order(cache, 0)[0]
    out["kcache_layer0_final"], out["vcache_layer0_final"] = stream_order(cache, 0)
    out["crossattn_k_layer0"], out["crossattn_v_layer0"] = context.blocks[0]
    return asked(case, out, without=("kcache",) if relative else ())


def asked(case, out: dict[str, Tensor], without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The outputs that the case has numbers for."""
    return {
        key: value
        for key, value in out.items()
        if key in case.outputs and not key.startswith(without or "\0")
    }


def causal_dit_embeddings(case) -> dict[str, Tensor]:
    model, x = wan_model(case), case.inputs
    time, projection = model.embed_time(x["timesteps"][None])
    return {
        "sinusoidal": sinusoidal_embedding(x["timesteps"], model.config.freq_dim),
        "time_embedding": time[0],
        "time_projection": projection[0],
        "text_embedding": model.embed_text(x["context"]),
        "patch_embedding": model.embed_patches(x["clean"]),
    }


def rope(case) -> dict[str, Tensor]:
    grid = case.meta["grid"]
    small = [grid[0], grid[1] // 2, grid[2] // 2]  # the cases apply head size 128 on half the grid
    out = {}
    for key in case.outputs:
        if key.startswith("freqs"):
            continue
        x, sizes = (case.inputs["x128"], small) if key.startswith("head128_") else (case.inputs["x"], grid)
        name = key.removeprefix("head128_")
        start = int(name.removeprefix("start")) if name.startswith("start") else 0
        indices = range(start, start + sizes[0])
        if name.startswith("relative_"):
            indices = [int(index) for index in name.removeprefix("relative_").split("_")]
        turn = rope_module.rotation(indices, sizes[1], sizes[2], x.shape[-1], x.device)
        out[key] = rope_module.rotate(x, turn)
    first, rows = rope_table(range(64), case.meta["head_dim"]), (0, 1, 2, 63, 511, 1023)
    table = rope_table(rows, 128)
    out |= {"freqs_cos_first64": first[..., 0], "freqs_sin_first64": first[..., 1]}
    return out | {"freqs128_cos_rows": table[..., 0], "freqs128_sin_rows": table[..., 1]}


def rope_table(places: Sequence[int], head_dim: int) -> Tensor:
    """Upstream's table, all three axes at the same place: (P, D/2, 2), cosine and sine."""
    sizes, cpu, length = rope_module.axis_pairs(head_dim), torch.device("cpu"), max(places) + 1
    grids = (length, 1, 1), (1, length, 1), (1, 1, length)
    axes = [rope_module.rotation(range(t), h, w, head_dim, cpu)[list(places)] for t, h, w in grids]
    return torch.cat([axis.split(sizes, dim=1)[n] for n, axis in enumerate(axes)], dim=1)


def scheduler(case) -> dict[str, Tensor]:
    meta, x = case.meta, case.inputs
    assert meta["sigma_min"] == 0 and meta["extra_one_step"]
    sizes = {"num_train_timesteps": meta["num_train_timesteps"]}
    schedule = FlowMatchSchedule(shift=meta["shift"], **sizes)
    sigma = schedule.sigma(x["timestep"]).reshape(-1, 1, 1, 1)
    clamped = schedule.sigma(x["timestep"].clamp_min(5)).reshape(-1, 1, 1, 1)  # as the case's "call" says
    return {
        "sigmas": schedule.sigmas,
        "timesteps": schedule.timesteps,
        "sigmas_shift8": FlowMatchSchedule(shift=8.0, **sizes).sigmas,
        "warped_step_list": schedule.warp(meta["steps"]),
        "timestep_ids": schedule.timestep_ids(x["timestep"]),
        "add_noise": add_noise(x["x0"], x["noise"], sigma),
        "x0_from_flow": x0_from_flow(x["flow"], x["noise"], sigma),
        # Upstream's inverse of x0_from_flow, which nothing here needs.
        "flow_from_x0": ((x["noise"].double() - x["x0"].double()) / clamped).to(x["noise"].dtype),
    }


def pipeline(case, *, relative: bool = False) -> dict[str, Tensor]:
    """Sampling, with prompt switches where the case has them."""
    model, x, meta = wan_model(case), case.inputs, case.meta
    cache, context = new_cache(case, model, relative=relative), model.encode_text(x["context"])
    steps = tuple(meta["denoising_step_list"])
    denoise = Denoiser(SamplerConfig(denoising_step_list=steps, timestep_shift=meta["shift"]))
    renoise = x["renoise"].unflatten(0, (meta["chunks"], -1))
    switches = {frame: f"context_{n}" for n, frame in enumerate(meta.get("switch_frames", ()), start=1)}
    out: dict[str, Tensor] = {}
    latents: list[Tensor] = []
    for index, part in chunks(case):
        if part.start in switches:
            context = model.encode_text(x[switches[part.start]])
            recent = torch.cat(latents, dim=1)[:, -cache.filled :]
            if meta["global_sink"]:
                recache(model, recent, context, cache)
            else:
                clean_pass(model, recent, context, cache, cache.end - cache.filled, rewrite_sink=True)
            out[f"kcache_layer1_after_recache_at{part.start}"] = stream_order(cache, 1)[0]
        fresh = iter(renoise[index])

        def predict(
            xt: Tensor, timestep: float, _sigma: float, start: int = part.start, context=context
        ) -> Tensor:
            return model(xt, per_latent(timestep, xt), context, cache, start)

        for number, step in enumerate(
            denoise(predict, x["noise"][:, part], lambda fresh=fresh: next(fresh)[None])
        ):
            out[f"flow_chunk{index}_step{number}"] = step.flow
            out[f"x0_chunk{index}_step{number}"] = step.x0
        latents.append(step.x0)
        out[f"flow_chunk{index}_cleanpass"] = clean_pass(model, step.x0, context, cache, part.start)
    out["latents"] = torch.cat(latents, dim=1)
    return asked(case, out, without=("kcache",) if relative else ())


def clean_pass(
    model: CausalWanModel,
    latents: Tensor,
    context: TextContext,
    cache: RingKVCache,
    start: int,
    *,
    rewrite_sink: bool = False,
) -> Tensor:
    """The flow, too, which the cases have numbers for; `rewrite_sink`: upstream without `global_sink`."""
    return model(latents, per_latent(0, latents), context, cache, start, rewrite_sink=rewrite_sink)


def vace_causal(case) -> dict[str, Tensor]:
    model, x, scale = wan_model(case), case.inputs, case.meta["vace_context_scale"]
    cache, context, hints = new_cache(case, model), model.encode_text(x["context"]), watch_hints(model)
    out: dict[str, Tensor] = {}
    for index, part in chunks(case):
        control = model.embed_control(as_video(x["vace_context"][index]), part.stop - part.start)
        for name, latents, t in (("ta", "noisy_a", x["t_a"]), ("tb", "noisy_b", x["t_b"])):
            chunk, timestep = x[latents][:, part], per_latent(t, x[latents][:, part])
            out[f"exact_flow_chunk{index}_{name}"] = model(
                chunk, timestep, context, cache, part.start, control=control, control_scale=scale
            )
            out[f"exact_hints_chunk{index}_{name}"] = torch.cat([hints[n] for n in sorted(hints)])
        clean = clean_pass(model, x["clean"][:, part], context, cache, part.start)
        out[f"exact_flow_chunk{index}_clean_novace"] = clean
    size = case.meta["frames_per_chunk"]
    first, timestep = x["noisy_a"][:, :size], per_latent(x["t_a"], x["noisy_a"][:, :size])
    refs = x["vace_refs"]
    for name, control in (
        ("plus_3", torch.cat([refs, x["vace_context"][0]], dim=1)),
        ("only", refs),
    ):
        out[f"exact_flow_refs{refs.shape[1]}_{name}"] = model(
            first,
            timestep,
            context,
            new_cache(case, model),
            control=model.embed_control(as_video(control), size),
            control_scale=scale,
        )
    return asked(case, out)


def as_video(latents: Tensor) -> Tensor:
    """The cases' [C, F, H, W] -> (1, F, C, H, W)."""
    return latents.transpose(0, 1)[None]


def vace_bidirectional(case) -> dict[str, Tensor]:
    """Padding tokens are masked as keys and cut off upstream, so leaving them out is the same."""
    model, x, scale = wan_model(case), case.inputs, case.meta["vace_context_scale"]
    seen, hints = watch(model.blocks), watch_hints(model)
    context, latents = model.encode_text(x["context"][None]), as_video(x["x"])
    timestep = per_latent(x["t"], latents)
    control = model.embed_control(as_video(x["vace_context"]), latents.shape[1])
    unguided = model(latents, timestep, context, control=control, control_scale=0.0)
    flow = model(latents, timestep, context, control=control, control_scale=scale)
    flow, unguided = (video[0].transpose(0, 1) for video in (flow, unguided))
    out = {"flow": flow, "flow_vace_repo": flow, "flow_scale0": unguided}
    out["hints"] = torch.cat([hints[n] for n in sorted(hints)])
    return asked(case, out | {f"block{n}": value for n, value in seen.items()})


def lora(case) -> dict[str, Tensor]:
    """Merged on load, as published adapters are; unmerged upstream, which is the same."""
    x, config = case.inputs, WanConfig.from_published(case.config)
    adapter = parse_lora(case.weights_below("lora/"), {"lora_alpha": case.meta["alpha"]})
    out: dict[str, Tensor] = {}
    for name, update in (("base", None), ("merged", adapter)):
        model = CausalWanModel(config).eval()
        load_into(
            model,
            case.weights_below("base/"),
            where=f"lora/{name}",
            device=x["x"].device,
            dtype=x["x"].dtype,
            lora=update,
        )
        cache = model.new_cache(window(case), *x["x"].shape[-2:])
        out[f"flow_{name}"] = model(x["x"], x["t"], model.encode_text(x["context"]), cache)
    out["flow_adapter"] = out["flow_merged"]
    return asked(case, out | {f"merged/{key}": value for key, value in model.state_dict().items()})


def taehv(case) -> dict[str, Tensor]:
    sizes = {
        key: tuple(v) if isinstance(v, list) else v
        for key, v in case.config.items()
        if key != "channel_divisor"
    }
    full, divisor = TaehvConfig(**sizes), case.config["channel_divisor"]
    config = replace(
        full,
        encoder_channels=tuple(c // divisor for c in full.encoder_channels),
        decoder_channels=tuple(c // divisor for c in full.decoder_channels),
    )
    model, video, z = TAEHV(config), case.inputs["video"], case.inputs["z"]
    model.load_state_dict(case.weights)
    out, trim = {}, model.frames_to_trim
    for key in case.outputs:
        words = key.split("_")
        if key.startswith("scope_stream_encode_chunk"):
            out[key] = taehv_chunk(model.encode_frames, video, 12, int(key[-1]))
        elif key.startswith("scope_stream_decode_chunk"):
            out[key] = taehv_chunk(model.decode_latents, z, 3, int(key[-1]), trim=trim)
        elif "encode" in words:
            out[key] = model.encode_frames(
                pad_to_multiple(video[:, : int(words[-1])], model.config.time_stride)
            )[0]
        else:
            out[key] = model.decode_latents(z[:, : int(words[-1])])[0][:, trim:]
    return out


def taehv_chunk(direction, x: Tensor, size: int, index: int, trim: int = 0) -> Tensor:
    """Output of call `index` when x goes through in calls of `size`; only the first call is trimmed."""
    memory, part = None, x
    for start in range(0, (index + 1) * size, size):
        part, memory = direction(x[:, start : start + size], memory)
    return part[:, trim:] if index == 0 else part


def pad_to_multiple(video: Tensor, stride: int) -> Tensor:
    missing = -video.shape[1] % stride
    return torch.cat([video, video[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)


def wan_vae(case) -> WanVAE:
    """The case's model; mean and std are inputs of some cases and metadata of others."""
    statistics = {
        name: tuple(float(v) for v in case.inputs.get(name, case.meta.get(name, ())))
        for name in ("mean", "std")
    }
    model = WanVAE(WanVaeConfig.from_published(case.config | {k: v for k, v in statistics.items() if v}))
    model.load_state_dict(case.weights)
    return model.to(next(iter(case.inputs.values())).device).eval()


def time_first(x: Tensor) -> Tensor:
    """The cases' [B, C, T, H, W] -> (B, T, C, H, W), and back."""
    return x.transpose(1, 2)


def stream(direction: Callable, x: Tensor, sizes: Iterable[int]) -> list[Tensor]:
    """One lasting cache over calls of `sizes` time steps of x (B, T, C, H, W); an output of each call."""
    cache, start, parts = None, 0, []
    for size in sizes:
        part, cache = direction(x[:, start : start + size], cache)
        parts.append(part)
        start += size
    return parts


def encode_whole_groups(vae: WanVAE, video: Tensor) -> Tensor:
    """As upstream's offline encode: frames that fill no group are left away."""
    stride = vae.config.time_stride
    return vae.encode(video[:, : (video.shape[1] - 1) // stride * stride + 1])[0]


def carrying(vae: WanVAE) -> Callable:
    """As upstream's streaming encode when it is fed 12: at a start, frames that fill no group give no latent,
    but the convolutions remember them, so that every later group is shifted by them."""

    def encode(video: Tensor, cache: EncoderCache | None) -> tuple[Tensor, EncoderCache]:
        features, after = vae.encoder(video.transpose(1, 2), cache)
        return vae.latents_of(features), after

    return encode


def called(key: str, words: str) -> tuple[list[int], int] | None:
    """`<words>_9_12_12_chunk1` -> ([9, 12, 12], 1)."""
    found = re.fullmatch(rf"{words}((?:_\d+)+)_chunk(\d+)", key)
    return found and ([int(n) for n in found[1].split("_")[1:]], int(found[2]))


def wan_vae_encode(case) -> dict[str, Tensor]:
    vae, video = wan_vae(case), time_first(case.inputs["video"])
    features = vae.encoder(time_first(video[:, :1]), None)[0]
    out = {"encoder_frame0_premoments": features, "moments_frame0": vae.conv1(features)}
    for key in case.outputs:
        if plan := called(key, "stream"):
            out[key] = time_first(stream(vae.encode, video, plan[0])[plan[1]])
        elif found := re.fullmatch(r"encode_(\d+)frames", key):
            out[key] = time_first(encode_whole_groups(vae, video[:, : int(found[1])]))
    return {key: out[key] for key in case.outputs if key in out}


def wan_vae_decode(case) -> dict[str, Tensor]:
    vae, z = wan_vae(case), time_first(case.inputs["z"])
    out = {}
    for key in case.outputs:
        if found := re.fullmatch(r"stream_chunk(\d+)", key):
            out[key] = time_first(stream(vae.decode, z, [3] * (int(found[1]) + 1))[-1])
        elif found := re.fullmatch(r"decode_(\d+)(_clamped)?", key):
            video = time_first(vae.decode(z[:, : int(found[1])])[0])
            out[key] = video.clamp(-1, 1) if found[2] else video
    return out


def wan_vae_stream_scope(case) -> dict[str, Tensor]:
    vae, video, z = wan_vae(case), time_first(case.inputs["video"]), time_first(case.inputs["z"])
    out = {}
    for key in case.outputs:
        if plan := called(key, "enc"):
            out[key] = time_first(stream(carrying(vae), video, plan[0])[plan[1]])
        elif found := re.fullmatch(r"dec_chunk(\d+)", key):
            out[key] = time_first(stream(vae.decode, z, [3] * (int(found[1]) + 1))[-1]).clamp(-1, 1)
    return out


def vace_encode(case) -> dict[str, Tensor]:
    """What the block makes of a stream comes from the block; clips of other plans from the functions it
    uses."""
    clip = _Clip(case)
    out = {}
    for key, want in case.outputs.items():
        numbers = [int(n) for n in re.findall(r"\d+", key)]
        if re.fullmatch(r"depth_\d+frames", key):
            control = clip.control(0, numbers[0])
        elif re.fullmatch(r"depth_fresh\d+_chunk\d+", key):
            control = clip.control(numbers[0] * numbers[1], numbers[0])
        elif re.fullmatch(r"depth_stream\d+", key):
            control = clip.streamed(numbers[0])
        elif re.fullmatch(r"depth_separate_streams_chunk\d+", key):
            control = clip.shifted_streams(numbers[0])
        elif re.fullmatch(r"(depth|r2v)_\d+refs?", key):
            control = clip.with_references(numbers[0], depth=key.startswith("depth"))
        elif key == "mixed_mask":
            control = clip.control(0, clip.length, clip.mask)
        elif key == "refs_nomask_z0":
            control = clip.bare_with_references()
        else:
            continue
        out[key] = control[0, :, : want.shape[0]].transpose(0, 1)  # some outputs leave the mask channels away
    return out


class _Clip:
    """The inputs of a `vace_encode` case, (1, T, C, H, W), and the ways to encode them."""

    def __init__(self, case) -> None:
        self.vae = wan_vae(case)
        self.frames, self.mask = (time_first(case.inputs[name][None]) for name in ("frames", "mask"))
        names = sorted(name for name in case.inputs if re.fullmatch(r"ref\d+", name))
        self.references = [case.inputs[name][:, 0] for name in names]
        self.length = self.mask.shape[1]  # frames of a chunk

    def block(self, num_latents: int, **options: int) -> VaceEncodingBlock:
        sizes, (height, width) = self.vae.config, self.frames.shape[3:]
        full = 2 * sizes.latent_channels + sizes.space_stride**2
        options = {"vace_in_dim": full, "num_frame_per_block": num_latents} | options
        return VaceEncodingBlock(self.vae, height=height, width=width, **options)

    def control(self, start: int, length: int, mask: Tensor | None = None) -> Tensor:
        """Fresh caches; frames past the last whole group are left away."""
        frames = self.frames[:, start : start + length]
        mask = torch.ones_like(frames[:, :, :1]) if mask is None else mask
        latents = [encode_whole_groups(self.vae, part) for part in split_by_mask(frames, mask)]
        sizes = self.vae.config
        strides = {"time_stride": sizes.time_stride, "space_stride": sizes.space_stride}
        return torch.cat([*latents, mask_latents(mask, **strides)], dim=2)

    def streamed(self, length: int) -> Tensor:
        """Through the block: 9 frames, then 12 at a time, where the length allows."""
        latents = self.latents_of(length)
        block, state, start, parts = self.block(3 if latents % 3 == 0 else latents), None, 0, []
        while start < length:
            count = block.frames_per_chunk if start else block.frames_of_first_chunk
            part, state = block.encode_depth(time_first(self.frames[:, start : start + count]), state)
            parts.append(part)
            start += count
        return torch.cat(parts, dim=1)

    def shifted_streams(self, index: int) -> Tensor:
        """Each video with a lasting cache, fed 12 frames from the first call on, as upstream's streaming
        does."""
        frames = self.frames[:, : (index + 1) * self.length]
        videos = split_by_mask(frames, torch.ones_like(frames[:, :, :1]))
        sizes = [self.length] * (index + 1)
        return torch.cat([stream(carrying(self.vae), video, sizes)[-1] for video in videos], dim=2)

    def with_references(self, count: int, *, depth: bool) -> Tensor:
        """Through the block, references in front of the chunk; only whole groups of frames."""
        block = self.block(self.latents_of(self.length))
        clip = time_first(self.frames[:, : block.frames_of_first_chunk])
        mode, given = ("depth+r2v", {"vace_input": clip}) if depth else ("r2v", {})
        control, _ = block(mode, None, ref_images=self.references[:count], **given)
        return prepended(control)

    def bare_with_references(self) -> Tensor:
        block = self.block(self.latents_of(self.length), vace_in_dim=self.vae.config.latent_channels)
        clip = time_first(self.frames[:, : block.frames_of_first_chunk])
        control, _ = block("depth+r2v", None, vace_input=clip, ref_images=self.references)
        return prepended(control)

    def latents_of(self, length: int) -> int:
        stride = self.vae.config.time_stride
        return (length + stride - 1) // stride


def prepended(control: Control | None) -> Tensor:
    assert control is not None and control.references is not None
    return torch.cat([control.references, control.frames], dim=1)


def umt5_encoder(case) -> dict[str, Tensor]:
    sizes, ids, mask = case.config, case.inputs["ids"], case.inputs["mask"]
    config = TextConfig(
        vocab_size=sizes["vocab"],
        d_kv=sizes["dim_attn"] // sizes["num_heads"],
        d_ff=sizes["dim_ffn"],
        num_layers=sizes["num_layers"],
        num_heads=sizes["num_heads"],
    )
    model = TextEncoder(
        config,
        dim=sizes["dim"],
        text_len=ids.shape[1],
        tokenizer=ByT5Tokenizer(),
        num_buckets=sizes["num_buckets"],
    )
    model.load_wan_weights(case.weights, dtype=case.weights["norm.weight"].dtype)
    model.eval()
    return {"encoder": model.hidden_states(ids, mask), "prompt_embeds": model.encode_ids(ids, mask)}


CASES = {
    "causal_dit": causal_dit,
    "causal_dit_infinity": lambda case: causal_dit(case, relative=True),
    "causal_dit_embeddings": causal_dit_embeddings,
    "rope": rope,
    "scheduler": scheduler,
    "pipeline_absolute": pipeline,
    "pipeline_infinity": lambda case: pipeline(case, relative=True),
    "pipeline_switch_global_sink": pipeline,
    "pipeline_switch_no_global_sink": pipeline,
    "pipeline_switch_infinity": lambda case: pipeline(case, relative=True),
    "vace_causal": vace_causal,
    "vace_bidirectional": vace_bidirectional,
    "lora": lora,
    "taehv": taehv,
    "wan_vae_encode": wan_vae_encode,
    "wan_vae_decode": wan_vae_decode,
    "wan_vae_stream_scope": wan_vae_stream_scope,
    "vace_encode": vace_encode,
    "umt5_encoder": umt5_encoder,
}
