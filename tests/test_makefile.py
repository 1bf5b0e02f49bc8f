"""Laws of `make`: it says which Python it needs, and another one's environment is made anew."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Makes an environment whose Python is as old as itself, and does whatever else it is asked.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-c import sys; sys.exit"*) exit {is_old} ;;
"-m venv")
    mkdir -p .venv/bin; cp "$0" .venv/bin/python
    printf '#!/bin/sh\\n' > .venv/bin/pip; cp .venv/bin/pip .venv/bin/depthlive; chmod +x .venv/bin/* ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    for name, is_old in (("old", 1), ("new", 0)):
        python = tmp_path / name
        python.write_text(PYTHON.format(is_old=is_old))
        python.chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_law_another_pythons_environment_is_made_anew(folder: Path) -> None:
    refused = make(folder, "serve", f"PYTHON={folder}/old")
    assert refused.returncode and "expected Python 3.11 or newer" in refused.stderr
    assert not (folder / ".venv").exists()
    subprocess.run([folder / "old", "-m", "venv"], cwd=folder, check=True)  # as an older Makefile left it
    (folder / ".venv" / ".ready").touch()
    assert make(folder, "serve", f"PYTHON={folder}/new").returncode == 0
    assert (folder / ".venv" / "bin" / "python").read_text() == (folder / "new").read_text()
    assert "venv" not in make(folder, "serve", f"PYTHON={folder}/new").stdout.replace(".venv", "")
