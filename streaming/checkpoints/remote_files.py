"""Published files that each preset needs: data alone.

A repository with a commit hash is pinned here, and so is a file with a sha256; a branch name is pinned by the
first pull (see streaming.hub.pull).
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal[
    "generator_path",  # these are PipelineConfig's keys
    "lora_path",
    "vace_path",
    "text_encoder_path",
    "tokenizer_path",
    "vae_path",
    "taehv_path",
    "depth",  # a folder for `streaming.depth.estimators.load_depth`
]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One published file, or, with a `*` in its path, several. Several files of one role stand for their
    folder."""

    repo_id: str
    path: str
    revision: str  # a commit hash, or the branch that the first pull pins
    role: Role
    size: int | None = None  # bytes; None where it is not known beforehand
    sha256: str | None = None


_LONGLIVE = ("Efficient-Large-Model/LongLive-1.3B", "cda9138d93872ef109d9a74c270184eb3a5acc6e")
_COMFY = ("Kijai/WanVideo_comfy", "8260d429d19fd7a72304cad059160b95d843913f")
_WAN = ("Wan-AI/Wan2.1-T2V-1.3B", "37ec512624d61f7aa208f7ea8140a131f93afc9a")
_TAEHV = ("ionden/taew2.1", "2ac5ae1c3291a8607a2d6c423b9a0337cef45f2b")  # its author publishes on GitHub only
_DEPTH = ("depth-anything/Depth-Anything-V2-Small-hf", "5426e4f0f36572d16453bbda7a8389317b1bef99")


def _file(
    repo: tuple[str, str], path: str, role: Role, size: int | None = None, sha256: str | None = None
) -> RemoteFile:
    return RemoteFile(repo[0], path, repo[1], role, size, sha256)


# Preset -> files. A preset with none runs without downloads.
REMOTE_FILES: dict[str, tuple[RemoteFile, ...]] = {
    "embedded": (),
    "longlive-1.3b": (
        _file(
            _LONGLIVE,
            "models/longlive_base.pt",
            "generator_path",
            5_676_334_208,
            "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
        ),
        _file(
            _LONGLIVE,
            "models/lora.pt",
            "lora_path",
            2_800_056_690,
            "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
        ),
        _file(_COMFY, "Wan2_1-VACE_module_1_3B_bf16.safetensors", "vace_path"),
        _file(
            _COMFY,
            "umt5-xxl-enc-fp8_e4m3fn.safetensors",
            "text_encoder_path",
            6_731_333_792,
            "3fe5173588270c22505d4f9158bb1644b78331b8614206a97e92760b960c9ffa",
        ),
        _file(_WAN, "google/umt5-xxl/*", "tokenizer_path"),
        _file(
            _WAN,
            "Wan2.1_VAE.pth",
            "vae_path",
            507_609_880,
            "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981",
        ),
        _file(
            _TAEHV,
            "taew2_1.safetensors",
            "taehv_path",
            22_642_902,
            "04766eac0221b5390b985ae3fdcca652cbb4b1e8b82b28ea7ff89dfad1b1a93f",
        ),
        _file(_DEPTH, "config.json", "depth"),
        _file(_DEPTH, "preprocessor_config.json", "depth"),
        _file(
            _DEPTH,
            "model.safetensors",
            "depth",
            99_173_660,
            "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
        ),
    ),
}
