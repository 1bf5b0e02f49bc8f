"""What is compiled waits in one place for the next start, and a place that cannot be written is said so."""

import logging
from pathlib import Path

import pytest

from streaming.gpu.compile_cache import compile_cache


def test_the_users_cache_folder_is_the_same_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    folder = compile_cache(None)
    assert folder == compile_cache(None) == tmp_path / "caches" / "depthlive"
    assert not list(folder.iterdir())
    assert folder.stat().st_mode & 0o077 == 0, "what lies there is run: nobody else may write it"


def test_a_relative_cache_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compile_cache(None) == tmp_path / ".cache" / "depthlive"


def test_a_chosen_folder_is_made(tmp_path: Path) -> None:
    assert compile_cache(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_a_chosen_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cache_dir: .*file.* cannot be written"):
        compile_cache(tmp_path / "file" / "below")


def test_without_a_cache_folder_the_server_starts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert compile_cache(None) is None
    assert "cache_dir" in caplog.text
