"""A variable of the environment that a library cannot read is named, in one line."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from server.environment import MISREAD, misread
from server.settings import load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import started_worker, until

ROOT = Path(__file__).parents[2]
LIBRARY = """import os
def number(text):
    return int(text)
first = os.environ.get("TOY_NAME")
timeout = os.environ.get("TOY_TIMEOUT")
ratio = os.environ.get("TOY_RATIO") or "1"
if timeout:
    number(timeout)
float(ratio)
if path := os.environ.get("TOY_FILE"):
    open(path)
if os.environ.get("TOY_MODE", "a") not in "ab":
    raise ValueError("unknown mode " + repr(os.environ["TOY_MODE"]))
"""


# The command line is not looked at before the libraries are imported: one variable is tried with both.
@pytest.mark.parametrize(
    ("command", "name", "value", "told"),
    [
        ("--help", "HF_HUB_DOWNLOAD_TIMEOUT", "1.5", "huggingface_hub expects a whole number"),
        ("--help", "NUMPY_MADVISE_HUGEPAGE", "yes", "numpy expects a whole number"),
        ("--port=8080", "NUMPY_MADVISE_HUGEPAGE", "yes", "numpy expects a whole number"),
        (
            "--port=8080",
            "SSLKEYLOGFILE",
            "/nowhere/keys",
            "ssl expects a file that can be opened (No such file or directory)",
        ),
    ],
)
def test_law_a_variable_that_cannot_be_read_is_told_in_one_line(command, name, value, told):
    done = subprocess.run(
        [sys.executable, "-m", "server", command],
        cwd=ROOT, env={"PATH": "/usr/bin", name: value}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stderr == f"depthlive: {name}: got {value}, {told}\n" and done.stdout == ""
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PROMETHEUS_MULTIPROC_DIR", "/nonexistent/", "No such file or directory"),
        ("prometheus_multiproc_dir", __file__, "Not a directory"),
    ],
)
def test_law_a_variable_that_cannot_be_used_at_the_start_is_told_in_one_line(name, value, why):
    done = subprocess.run(
        [sys.executable, "-m", "server", "--port", "0"],
        cwd=ROOT, env={"PATH": "/usr/bin", name: value}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"depthlive: {name.upper()}: got {value[:20]}")
    assert told.endswith(f"prometheus_client expects a folder whose files can be opened ({why})")
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Imports a library with these variables: what is said of its error."""
    folder = tmp_path / "site-packages" / "toy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(folder.parent)

    def run(**variables: str) -> str | None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        sys.modules.pop("toy", None)
        with pytest.raises(MISREAD) as caught:
            importlib.import_module("toy")
        return misread(caught.value, variables)

    return run


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TOY_TIMEOUT", "abc", "toy expects a whole number"),
        ("TOY_RATIO", "a half", "toy expects a number"),
        ("TOY_FILE", "/nowhere/x", "toy expects a file that can be opened (No such file or directory)"),
        ("TOY_MODE", "z", "toy expects another value (unknown mode 'z')"),
    ],
)
def test_what_a_library_expects_is_told(imported, name, value, told):
    assert imported(**{name: value}) == f"{name}: got {value}, {told}"


def test_of_two_variables_that_whose_value_is_at_fault_is_named(imported):
    assert imported(TOY_TIMEOUT="abc", TOY_NAME="ann", TOY_RATIO="2") == (
        "TOY_TIMEOUT: got abc, toy expects a whole number"
    )


def test_an_error_of_no_import_is_no_variables():
    with pytest.raises(ValueError) as caught:
        int("abc")
    assert misread(caught.value, {"HOME": "abc", "TOY_TIMEOUT": "abc"}) is None


async def test_a_variable_that_the_models_libraries_cannot_read_is_in_the_log(imported, monkeypatch, caplog):
    monkeypatch.setenv("TOY_TIMEOUT", "abc")

    def fail(*args: object, **kw: object) -> None:
        importlib.import_module("toy")

    engine = FakeEngineModule()
    monkeypatch.setattr(type(engine), "load", fail, raising=False)
    sys.modules.pop("toy", None)
    async with started_worker(load_settings({}), engine):
        await until(lambda: "Cannot load the model" in caplog.text, "it fails")
    assert "Cannot load the model: TOY_TIMEOUT: got abc, toy expects a whole number" in caplog.text
