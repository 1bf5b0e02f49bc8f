"""The page's JavaScript holds to its JSDoc types: tsc --checkJs --strict, as tsconfig.json has it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TYPESCRIPT = "typescript@5.9.3"
LIMIT_S = 120.0
NOT_HERE = "tsc was not run: no TypeScript on this machine, and npx cannot fetch it"


def compiler() -> list[str]:
    """A command that runs tsc: the machine's own, or through npx, which fetches it once."""
    if (found := shutil.which("tsc")) is not None:
        return [found]
    if (npx := shutil.which("npx")) is None:
        pytest.skip(NOT_HERE)
    command = [npx, "--yes", "--package", TYPESCRIPT, "tsc"]
    try:
        check = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(NOT_HERE)
    if check.returncode != 0:
        pytest.skip(f"{NOT_HERE}: {check.stderr.strip()[-200:]}")
    return command


@pytest.mark.slow
def test_the_page_is_well_typed() -> None:
    checked = subprocess.run(
        [*compiler(), "-p", str(ROOT)], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT
    )
    assert checked.returncode == 0, checked.stdout
