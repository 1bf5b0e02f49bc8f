"""Targets of fuzzing that read files: clips, settings, weights and looks, which users give."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import save

from scripts.fuzz.mutation import any_of, bytes_of, json_of, lines_of
from scripts.fuzz.targets import SIZE, Target, picture
from scripts.video_file import VideoFileError, VideoReader
from server.config_file import ConfigFileError
from server.settings import Settings, load_settings
from streaming.checkpoints.looks import FILE, LooksError, load_looks
from streaming.checkpoints.weights import WeightsError, generator_state, lora_file, vace_state

READERS = (generator_state, vace_state, lora_file)  # of weights


def file_targets() -> dict[str, Target]:
    """All of them, by name."""
    every = (
        Target("clips", _clips(), bytes_of, _in_file("clip.mp4", _read_clip), (VideoFileError,)),
        Target(
            "settings",
            _settings(),
            any_of(bytes_of, lines_of),
            _in_file("server.toml", _read_settings),
            (ValidationError, ConfigFileError),
        ),
        Target(
            "weights", _weights(), bytes_of, _in_file("model.safetensors", _read_weights), (WeightsError,)
        ),
        Target(
            "looks", _looks(), json_of, _in_file(FILE, lambda path: load_looks(path.parent)), (LooksError,)
        ),
    )
    return {target.name: target for target in every}


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """`read`, which wants a file."""

    def read_bytes(data: bytes) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            return read(path)

    return read_bytes


def _clips() -> list[bytes]:
    import av

    clips: list[bytes] = []
    for form, codec in (("mp4", "h264"), ("webm", "libvpx-vp9"), ("matroska", "mjpeg"), ("mpegts", "h264")):
        out = io.BytesIO()
        with av.open(out, "w", form) as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = SIZE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for n in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture(), n, 0), "rgb24")))
            container.mux(stream.encode())
        clips.append(out.getvalue())
    return clips


def _read_clip(path: Path) -> None:
    with VideoReader(path) as clip:
        for n, _ in enumerate(clip.pictures()):
            if n > 10:
                break


def _settings() -> list[bytes]:
    lines = (
        'host = "127.0.0.1"',
        "port = 8080",
        'prompt = "gold"',
        'codecs = ["vp8", "h264"]',
        'allowed_origins = ["https://example.org"]',
        'ice_servers = ["stun:a.example", {urls = ["turn:b.example"], username = "a", credential = "b"}]',
        "max_sessions = 3",
        'udp_ports = "50000-50100"',
        "",
    )
    return [
        "\r\n".join(line for line in lines if line.partition(" ")[0] in {*Settings.model_fields, ""}).encode()
    ]


def _read_settings(path: Path) -> Settings:
    return load_settings({}, path)


def _weights() -> list[bytes]:
    square = torch.ones(2, 2)
    return [
        save({"model.blocks.0.self_attn.q.weight": square, "model.blocks.0.self_attn.q.bias": torch.ones(2)}),
        save({"vace_blocks.0.before_proj.weight": square}, {"format": "pt"}),
        save({"blocks.0.q.lora_A.weight": square, "blocks.0.q.lora_B.weight": torch.ones(2, 2)}),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        b"<!doctype html><html></html>",
        b"GGUF\x03\x00\x00\x00",
        b"",
    ]


def _read_weights(path: Path) -> None:
    """As any of them; refused if none takes it."""
    refusals: list[WeightsError] = []
    for read in READERS:
        try:
            read(path)
        except WeightsError as error:
            refusals.append(error)
    if len(refusals) == len(READERS):
        raise refusals[0]


def _looks() -> list[bytes]:
    return [
        json.dumps([{"name": "Gold", "prompt": "molten gold"}, {"name": "Ice", "prompt": "ice"}]).encode()
    ]
