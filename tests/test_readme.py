"""README's tree: what it lists is on the disk, and what is on the disk it lists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TREE = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2].split("```")[1]
LISTED_WHOLE = ("server", "streaming", "client_web", "scripts", "examples")
# What Python or a test needs in every folder, and what a build leaves.
UNLISTED = {"__init__.py", "__pycache__"}


def listed() -> set[str]:
    """Paths from the root, folders without a slash at their end, as the tree's indentation nests them."""
    found, parents = set[str](), list[tuple[int, str]]()
    for line in TREE.splitlines():
        names = re.match(r"( *)((?:[\w.*/-]+,? ?)+)", line)
        if names is None or not line.strip():
            continue
        depth = len(names[1])
        while parents and parents[-1][0] >= depth:
            parents.pop()
        above = "".join(f"{name}/" for _, name in parents)
        # Two spaces part names from their meaning; what is alone on its line names nothing more.
        entries = [entry.strip() for entry in line.strip().split("  ")[0].split(",") if entry.strip()]
        found |= {above + entry.rstrip("/") for entry in entries}
        if len(entries) == 1 and entries[0].endswith("/"):
            parents.append((depth, entries[0].rstrip("/")))
    return found


def on_disk(folder: str) -> set[str]:
    return {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir() if path.name not in UNLISTED}


def test_what_the_tree_lists_exists():
    paths = listed()
    assert len(paths) > 60
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_what_exists_is_in_the_tree():
    paths = listed()
    for folder in LISTED_WHOLE:
        assert on_disk(folder) <= paths, f"{folder}: not in README's tree"
    assert {path for path in on_disk("tests") if (ROOT / path).is_dir()} <= paths
