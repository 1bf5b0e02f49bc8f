"""The arrows of the scripts: parts know no command, and no two folders need each other."""

from collections import defaultdict
from functools import cache

import pytest

from tests.test_imports import ROOT, imports_of, modules_of

SCRIPTS = modules_of("scripts")
COMMANDS = {
    name for name, path in SCRIPTS.items() if path.parent in (ROOT / "scripts", ROOT / "scripts" / "bench")
}
SHARED = {"scripts.json_file", "scripts.video_file"}  # files beside the commands that are none


@cache
def imported(name: str) -> frozenset[str]:
    return frozenset(other for other in imports_of(SCRIPTS[name]) if other in SCRIPTS)


def rooms(base: str) -> dict[str, set[str]]:
    """Folder or file directly in `base` -> those of them that it imports."""
    arrows: dict[str, set[str]] = defaultdict(set)
    within = [name for name in SCRIPTS if name.startswith(f"{base}.")]
    for name in within:
        room = name.removeprefix(f"{base}.").partition(".")[0]
        others = {o.removeprefix(f"{base}.").partition(".")[0] for o in imported(name) if o in within}
        arrows[room] |= others - {room}
    return arrows


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - COMMANDS))
def test_a_part_knows_no_command(name: str) -> None:
    assert not imported(name) & COMMANDS - SHARED


@pytest.mark.parametrize("base", ["scripts", "scripts.bench", "scripts.embedded"])
def test_no_two_folders_need_each_other(base: str) -> None:
    arrows = rooms(base)
    assert len(arrows) > 4
    while leaves := {room for room, others in arrows.items() if not others & arrows.keys()}:
        arrows = {room: others for room, others in arrows.items() if room not in leaves}
    assert not arrows, "these import each other"


def test_what_is_trained_knows_nothing_of_its_judges() -> None:
    for room in ("data", "scenes", "stages", "words"):
        assert "judging" not in rooms("scripts.embedded")[room]
