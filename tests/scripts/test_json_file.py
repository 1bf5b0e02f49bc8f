"""The file of a run: its folders are made, and a run that breaks off leaves the old one."""

import json
from pathlib import Path

import pytest

from scripts.json_file import write_json


def test_the_folders_above_it_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "folder" / "run.json", {"fps": 23.4})
    assert json.loads((tmp_path / "new" / "folder" / "run.json").read_text()) == {"fps": 23.4}


def test_without_a_file_nothing_is_written() -> None:
    write_json(None, {"fps": 23.4})


def test_a_write_that_breaks_off_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    write_json(file, {"fps": 1})
    usual = Path.write_text

    def breaks(self: Path, text: str) -> int:
        usual(self, text[: len(text) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", breaks)
    with pytest.raises(OSError, match="no space"):
        write_json(file, {"fps": 2})
    monkeypatch.undo()
    assert json.loads(file.read_text()) == {"fps": 1}
