"""The fake engine stays true to the real one, read without importing torch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def classes(path: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def arguments(of: ast.ClassDef, method: str) -> list[str]:
    (found,) = (node for node in of.body if isinstance(node, ast.FunctionDef) and node.name == method)
    return [argument.arg for argument in found.args.args + found.args.kwonlyargs]


FAKE = classes("tests/server/fakes.py")
REAL = {
    name: found
    for module in ("engine", "snapshot", "stream")
    for name, found in classes(f"streaming/{module}.py").items()
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("LiveStream", "step"),
        ("LiveStream", "snapshot"),
        ("StreamSnapshot", "names"),
        ("StreamSnapshot", "parts"),
        ("StreamEngine", "open"),
        ("StreamEngine", "restore"),
        ("StreamEngine", "encode"),
        ("StreamEngine", "prepare"),
        ("StreamEngine", "flush"),
        ("StreamEngine", "check_device"),
        ("StreamEngine", "warm_up"),
    ],
)
def test_fake_takes_the_arguments_of_the_real_one(name, method):
    assert arguments(FAKE[name], method) == arguments(REAL[name], method)


def test_the_worker_loads_with_the_arguments_of_the_real_one():
    assert arguments(REAL["StreamEngine"], "load") == [
        "cls",
        "model",
        "size",
        "depth",
        "speed",
        "decoder",
        "device",
        "gpus",
        "precision",
        "controls",
        "scribble",
        "random_weights",
        "cache_dir",
        "seed",
        "sessions",
        "on_progress",
    ]
