"""Finding of one check: how it went, and what to do."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` says what to do; a finding that is ok has none."""

    check: str
    level: Level
    text: str
    fix: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Finding:
    """The server runs, and somebody may be worse off."""
    return Finding(check, "warning", text, fix)


def failure(check: str, text: str, fix: str) -> Finding:
    """The server does not start, or nobody can use it."""
    return Finding(check, "failure", text, fix)
