"""`depthlive models` against a hub on loopback: tables, words and exit codes."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from server.cli import app
from streaming.checkpoints.remote_files import REMOTE_FILES, RemoteFile
from tests.streaming.hub_stand_in import Hub, running_hub, use_endpoint

REPO = "studio/generator"
BASE = random.Random(0).randbytes(20_000_000)
VAE = b"small"


@pytest.fixture(scope="module")
def server():
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    server.reset()
    server.put(REPO, {"models/base.pt": BASE, "vae.pth": VAE})
    use_endpoint(monkeypatch, server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    files = (
        RemoteFile(REPO, "models/base.pt", "main", "generator_path", len(BASE)),
        RemoteFile(REPO, "vae.pth", "main", "vae_path"),
    )
    monkeypatch.setitem(REMOTE_FILES, "toy", files)
    return server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "120", "TERM": "dumb"})


def row_of(preset: str) -> list[str]:
    lines = [line for line in run("list").stdout.splitlines() if preset in line]
    return [cell.strip() for cell in lines[0].strip("│|").replace("│", "|").split("|")]


def test_list_shows_what_is_on_disk(hub: Hub, tmp_path: Path):
    assert row_of("embedded") == ["embedded", "none", "-", "-", "built in"]
    assert row_of("toy") == ["toy", "2", "over 0.02 GB", "0.00 MB", "not pulled"]
    assert run("pull", "toy").exit_code == 0
    assert row_of("toy") == ["toy", "2", "0.02 GB", "0.02 GB", "complete"]
    next((tmp_path / "cache").rglob("vae.pth")).unlink()
    assert row_of("toy") == ["toy", "2", "0.02 GB", "0.02 GB", "incomplete"]


def test_pull_tells_where_the_files_are(hub: Hub, tmp_path: Path):
    result = run("pull", "toy")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"generator_path: {tmp_path}")
    assert lines[-1] == "toy is complete."
    assert run("pull", "toy", "--offline").stdout == result.stdout


def test_built_in_preset_needs_no_files():
    assert run("pull", "embedded").stdout == "embedded is built in: it needs no files.\n"
    assert run("verify", "embedded").exit_code == 0


def test_pull_that_fails_says_why_and_ends_with_1(hub: Hub):
    hub.refuse = (403, "GatedRepo")
    result = run("pull", "toy")
    assert result.exit_code == 1
    assert "depthlive: " in result.stderr
    assert "is gated: accept its terms" in result.stderr
    hub.requests.clear()
    result = run("pull", "toy", "--offline")
    assert result.exit_code == 1
    assert "this run is offline" in result.stderr
    assert not hub.requests


def test_verify_names_what_is_damaged_and_ends_with_1(hub: Hub, tmp_path: Path):
    assert run("verify", "toy").exit_code == 1
    run("pull", "toy")
    path = next((tmp_path / "cache").rglob("vae.pth"))
    path.resolve().write_bytes(b"smell")
    result = run("verify", "toy")
    assert result.exit_code == 1
    assert "vae.pth is damaged, digest" in result.stderr


@pytest.mark.parametrize("command", ["pull", "verify"])
def test_unknown_preset_is_misuse(command: str):
    result = run(command, "nope")
    assert result.exit_code == 2
    assert "'nope' is none of embedded, longlive-1.3b" in result.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [("list", "on this machine"), ("pull", "HF_ENDPOINT names a mirror"), ("verify", "how to mend it")],
)
def test_help_tells_what_a_command_does(command: str, told: str):
    assert told in " ".join(run(command, "--help").stdout.split())


def test_endpoint_and_cache_come_from_the_librarys_own_variables(hub: Hub, tmp_path: Path):
    """In a process of its own, since the library reads them when it is imported; and without torch."""
    program = (
        "import sys\n"
        "from server.cli import app\n"
        "from streaming.checkpoints.remote_files import REMOTE_FILES, RemoteFile\n"
        f"REMOTE_FILES['toy'] = (RemoteFile({REPO!r}, 'vae.pth', 'main', 'vae_path'),)\n"
        "app(['models', 'pull', 'toy'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret"}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept | variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert f"vae_path: {tmp_path / 'home' / 'hub'}" in done.stdout
    assert "hf_secret" not in done.stdout + done.stderr
