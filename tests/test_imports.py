"""The arrows between the packages: who may import whom, read from the source without running it."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STREAMING_NEEDS = {"torch", "numpy", "safetensors", "transformers", "PIL", "ftfy"}
# The one command in streaming/ writes videos with PyAV where it is installed, and pictures where it is not.
# Triton and NVIDIA's bindings come with PyTorch where there is a GPU, and are asked for nowhere else.
MAY_DO_WITHOUT = {
    "streaming.test_depth_guidance": {"av"},
    "streaming.kernels.triton_kernels": {"triton"},
    "streaming.kernels.hopper_convolution": {"cuda"},
}
NETWORK = {
    *(
        "aiohttp",
        "aiortc",
        "aioice",
        "av",
        "fastapi",
        "httpx",
        "requests",
        "urllib3",
        "websockets",
        "uvicorn",
    ),
    *(
        "asyncio",
        "ftplib",
        "http",
        "imaplib",
        "poplib",
        "selectors",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
    ),
    *("telnetlib", "urllib", "xmlrpc"),
}
TENSORS = {"torch", "safetensors", "transformers"}
# All that the server knows of streaming: any of its modules may use the values, two go further.
VALUES = "streaming.api"
SERVER_TO_STREAMING = {
    ("server.engine.thread", "streaming.engine"),
    # Commands of their own, no part of the live server.
    ("server.models_cli", "streaming.hub.pull"),
    ("server.doctor.facts", "streaming.hub.pull"),
    ("server.doctor.facts", "streaming.device_report"),
    ("server.doctor.facts", "streaming.checkpoints.presets"),
}
HUB = "huggingface_hub"  # its one user: files of models, never streams
PURE = {
    "server.session.chunk_assembler",
    "server.session.chunk_planner",
    "server.media.pacing",
    "server.session.camera_clock",
    "server.session.command_queue",
    "server.session.parameters",
    "server.session.timeline",
    "server.placement.admission",
    "server.placement.free_places",
    "server.placement.port",
    "server.placement.table",
    "server.protocol.codec",
    "server.protocol.requests",
    "server.protocol.replies",
    "server.protocol.setup",
}
# Folders and the modules beside them, the lowest first. Each imports what stands above its line alone.
LAYERS = {
    "streaming": [
        {"config", "vace_utils", "kernels"},
        {"parallel"},
        {"api", "modules"},
        {"frames"},
        {"controls"},
        {"blocks", "depth", "gpu", "kv_cache_pool"},
        {"checkpoints", "chunk_passes"},
        {"hub", "session", "shapes"},
        {"pipeline"},
        {"acceleration", "parameters", "random_weights"},
        {"snapshot"},
        {"reprime"},
        {"stream", "following"},
        {"engine"},
        {"device_report", "test_depth_guidance"},
    ],
    "server": [
        {"answers", "config_file", "picture_size"},
        {
            "client_address",
            "cors",
            "logs",
            "memory",
            "progress_bar",
            "protocol",
            "quotation",
            "settings",
            "steady_clock",
        },
        {"access", "environment", "journal", "media", "metrics", "models_cli", "preset_file"},
        {"engine", "placement", "tracing"},
        {"restart", "services"},
        {"session"},
        {"transport"},
        {"webrtc", "websocket"},
        {"http"},
        {"app", "doctor", "virtual_camera"},
        {"cluster"},
        {"cli"},
        {"__main__"},
    ],
}


def modules_of(package: str) -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that a file imports when it runs, in functions too; `from a import b` is "a" and "a.b"."""
    found: list[str] = []
    for node in running_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative imports hide the arrow"
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return tuple(found)


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Like `ast.walk`, without what stands under `if TYPE_CHECKING`."""
    yield node
    is_for_checkers = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if is_for_checkers else ast.iter_child_nodes(node):
        yield from running_nodes(child)


def top_level_imports(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


STREAMING, SERVER = modules_of("streaming"), modules_of("server")


@pytest.mark.parametrize("name", STREAMING)
def test_streaming_knows_no_network_and_needs_few_packages(name):
    imported = top_level_imports(STREAMING[name]) - MAY_DO_WITHOUT.get(name, set())
    assert not imported & NETWORK
    allowed = STREAMING_NEEDS | ({HUB} if name.startswith("streaming.hub") else set())
    assert imported <= allowed | sys.stdlib_module_names | {"streaming"}


def test_values_need_numpy_alone():
    assert top_level_imports(STREAMING[VALUES]) <= sys.stdlib_module_names | {"numpy", "streaming"}
    within = {name for name in imports_of(STREAMING[VALUES]) if name in STREAMING and name != "streaming"}
    assert within <= {"streaming.config"}
    assert top_level_imports(STREAMING["streaming.config"]) <= sys.stdlib_module_names


@pytest.mark.parametrize("name", SERVER)
def test_server_knows_no_tensors(name):
    assert not top_level_imports(SERVER[name]) & TENSORS


def test_server_enters_streaming_by_its_doors_alone():
    arrows = {
        (name, imported)
        for name, path in SERVER.items()
        for imported in imports_of(path)
        if imported in STREAMING and imported not in ("streaming", VALUES)
    }
    assert arrows <= SERVER_TO_STREAMING


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_core_is_sans_io(name):
    assert not top_level_imports(SERVER[name]) & (NETWORK | {"time", "threading"})


def rooms_of(package: str) -> dict[str, set[str]]:
    """Folder, or module beside the folders -> what of its kind it imports, of the same package."""
    rooms: dict[str, set[str]] = {}
    modules = modules_of(package)
    for name, path in modules.items():
        if name != package:
            imported = {other for other in imports_of(path) if other in modules and other != package}
            rooms.setdefault(name.split(".")[1], set()).update(other.split(".")[1] for other in imported)
    return {room: others - {room} for room, others in rooms.items()}


@pytest.mark.parametrize("package", LAYERS)
def test_every_folder_has_its_layer(package):
    layered = [room for layer in LAYERS[package] for room in layer]
    assert sorted(layered) == sorted(rooms_of(package))


@pytest.mark.parametrize("package", LAYERS)
def test_no_arrow_points_up_or_along(package):
    rooms, below = rooms_of(package), set[str]()
    for layer in LAYERS[package]:
        for room in layer:
            assert rooms[room] <= below, f"{package}/{room}"
        below |= layer


def test_the_register_knows_no_kind_of_connection():
    for name, path in SERVER.items():
        if name.startswith("server.transport"):
            assert not top_level_imports(path) & NETWORK - {"asyncio"}
