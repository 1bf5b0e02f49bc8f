"""The wheel: in an environment of its own it serves the page, its looks and its model from anywhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE_S = 180.0  # a busy machine; alone it takes a few seconds
SOURCES = ("server", "streaming", "client_web")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals and paths of POSIX"),
]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Of a copy: what a build leaves beside the sources would be found by other tests."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    run(sys.executable, "-c", build, out, cwd=copy)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """The `bin` of an environment with the wheel alone, which sees the dependencies that are here."""
    folder = tmp_path_factory.mktemp("an environment")
    venv.create(folder, with_pip=False)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    shutil.unpack_archive(wheel, site, "zip")
    # After the wheel's own, and with no .pth read there: an editable install of this checkout stays out.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def served(bare, tmp_path_factory) -> Iterator[str]:
    """The address of `depthlive serve`, started in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a folder")
    with (folder / "log").open("w") as log:
        command = [bare / "python", "-P", "-m", "server", "--port", "0", "--log-format", "json"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "a cache")}
        environment.pop("PYTHONPATH", None)
        server = subprocess.Popen(command, cwd=folder, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := [one for one in lines(folder) if one["message"].startswith("Serving on ")]):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield found[0]["message"].removeprefix("Serving on ")
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0, (folder / "log").read_text()
    finally:
        server.kill()
        server.wait()


def lines(folder: Path) -> list[dict]:
    """Those that are whole."""
    return [json.loads(one) for one in (folder / "log").read_text().splitlines(True) if one.endswith("\n")]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return response.read()


def test_the_code_that_runs_is_the_wheels(bare, tmp_path):
    where = run(bare / "python", "-P", "-c", "import server, streaming; print(server.__file__)", cwd=tmp_path)
    assert where.startswith(str(bare.parent))


def test_the_wheel_has_every_file_of_the_packages(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    wanted = {
        str(path.relative_to(ROOT))
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(wanted) > 200 and wanted <= inside


def test_law_the_wheel_serves_from_a_folder_of_any_name(served):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert json.loads(get(served + "/readyz"))["model"]
            break
        except urllib.error.HTTPError as error:
            assert error.code == 503 and time.monotonic() < deadline, error.read()
            time.sleep(0.2)
    page = get(served).decode()
    assert "<html" in page and b"import" in get(served + "/main.js")
    info = json.loads(get(served + "/api/info"))
    assert info["model"]["trained"], "the weights are in the wheel"
    assert len(info["looks"]) > 3
    assert len(get(f"{served}/{info['looks'][0]['thumbnail']}")) > 500


def test_its_command_is_there(wheel, bare, tmp_path):
    command = (
        "from importlib.metadata import entry_points as points\n"
        "print(*points(group='console_scripts', name='depthlive'))"
    )
    assert "server.__main__:depthlive" in run(bare / "python", "-P", "-c", command, cwd=tmp_path)
