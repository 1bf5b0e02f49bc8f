"""The file that `--json` names: what a command has measured, as plain values."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the full record here, too.")]


def write_json(file: Path | None, record: Any) -> None:
    """Write `record` to `file` and make the folders above it; nothing without a file."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(record, indent=1))


def write_whole(path: Path, text: str) -> None:
    """The whole text or none of it: what is read half-way through is the old file."""
    half = path.with_name(f".{path.name}.half")
    half.write_text(text + "\n")
    half.replace(path)
