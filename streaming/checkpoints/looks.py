"""Looks: prompts that a model is known to follow well, each with a picture of what comes out.

    for look in load_looks(folder):
        print(look.name, look.prompt, look.thumbnail)

They lie in `looks.json` beside the weights, in the order in which they are to be shown:

    [{"name": "Molten gold", "prompt": "a statue of molten gold", "thumbnail": "thumbnails/gold.webp"}]
"""

import json
from pathlib import Path
from typing import Any, cast

from streaming.api import MAX_PROMPT_LENGTH, Look

FILE = "looks.json"
PICTURES = (".webp", ".png", ".jpg")
NAME_MAX_LENGTH = 40


class LooksError(ValueError):
    """Looks that cannot be used; the text names the file, the entry, the value and what was expected."""


def load_looks(folder: Path) -> tuple[Look, ...]:
    """The looks of `folder`, in their order. Raises LooksError."""
    path = folder / FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise LooksError(f"{path}: cannot be read ({error})") from error
    if not isinstance(entries, list):
        raise LooksError(f"{path}: expected a list of looks, got {json.dumps(entries)[:80]}")
    looks = tuple(
        _look(entry, folder, f"{path}: [{index}]") for index, entry in enumerate(cast(list[Any], entries))
    )
    for what, values in (
        ("name", [look.name for look in looks]),
        ("prompt", [look.prompt for look in looks]),
        ("file name of a thumbnail", [look.thumbnail.name for look in looks if look.thumbnail]),
    ):
        if repeated := next((value for value in values if values.count(value) > 1), None):
            raise LooksError(f"{path}: every {what} must stand there once, {repeated!r} does not")
    return looks


def _look(entry: Any, folder: Path, where: str) -> Look:
    if not isinstance(entry, dict) or not entry.keys() <= {"name", "prompt", "thumbnail"}:
        raise LooksError(f"{where} must be an object of name, prompt and thumbnail, got {entry!r}")
    entry = cast(dict[str, Any], entry)
    return Look(
        name=_text(entry, "name", NAME_MAX_LENGTH, where),
        prompt=_text(entry, "prompt", MAX_PROMPT_LENGTH, where),
        thumbnail=_thumbnail(entry.get("thumbnail"), folder, where),
    )


def _text(entry: dict[str, Any], field: str, longest: int, where: str) -> str:
    value = entry.get(field)
    # Spaces around it would be cut off by whoever sends it, and the prompt would not be known again.
    if not isinstance(value, str) or not 0 < len(value) <= longest or value != value.strip():
        raise LooksError(
            f"{where}.{field} must have 1 to {longest} characters and no space at its ends, got {value!r}"
        )
    return value


def _thumbnail(value: Any, folder: Path, where: str) -> Path | None:
    if value is None:
        return None
    path = folder / value if isinstance(value, str) else folder
    is_inside = path.resolve().is_relative_to(folder.resolve())
    if not (is_inside and path.suffix in PICTURES and path.is_file()):
        raise LooksError(
            f"{where}.thumbnail must be a file below {folder}, one of {', '.join(PICTURES)}, got {value!r}"
        )
    return path
