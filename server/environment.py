"""Environment variables that libraries read: the one that an import of theirs, or a call, ended with.

try:
    import library
    library.begin()
except MISREAD as error:
    if (words := misread(error, os.environ)) is None:
        raise
"""

import linecache
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

from server.quotation import shown

MISREAD = (ValueError, OSError)  # what reading one raises
NUMBERS = {"invalid literal for int()": "a whole number", "could not convert string to float": "a number"}


def misread(error: BaseException, environ: Mapping[str, str]) -> str | None:
    """Name, value and expectation of the variable, in one line; None if this is no library's error, or none
    of the variables that are set is behind it."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed([frame for frame in frames if _library(frame.filename)]):
        found: list[tuple[int, str]] = []  # how far from the line that failed
        for number, line in enumerate(linecache.getlines(frame.filename), 1):
            distance = abs(number - (frame.lineno or 0))
            for name in re.findall(r"""["']([A-Za-z_]\w*)["']""", line):
                value = environ.get(name)
                if value and (repr(value) in str(error) or _is_folder_of(value, error)):
                    found.append((distance, name))
        if found:
            name = min(found)[1]
            return (
                f"{name}: got {shown(environ[name])}, {_library(frame.filename)} expects "
                f"{_expected(error, environ[name])}"
            )
    return None


def _library(path: str) -> str | None:
    """The package of a file, or the module of Python's own; None for one of this project."""
    if (found := re.search(r"(?:site|dist)-packages[/\\]([^/\\.]+)", path)) is not None:
        return found[1]
    found = re.search(r"python3\.\d+[/\\]([^/\\.]+)", path)
    return found and found[1]


def _is_folder_of(value: str, error: BaseException) -> bool:
    """Whether it is about a file below this one."""
    name = error.filename if isinstance(error, OSError) else None
    return isinstance(name, str) and Path(value) in Path(name).parents


def _expected(error: BaseException, value: str) -> str:
    for words, expected in NUMBERS.items():
        if str(error).startswith(words):
            return expected
    if isinstance(error, OSError):
        what = "a folder whose files" if _is_folder_of(value, error) else "a file that"
        return f"{what} can be opened ({error.strerror})"
    return f"another value ({shown(str(error))})"
