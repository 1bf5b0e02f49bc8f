"""The page's modules: what they import is there, and their folders depend on each other one way."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "client_web"
MODULES = sorted(PAGE.rglob("*.js"))
IMPORTED = re.compile(r'(?:from |import\()"(\.[^"]+)"')  # types too: they couple folders as values do


def imports(module: Path) -> list[Path]:
    found = IMPORTED.findall(module.read_text(encoding="utf-8"))
    return [(module.parent / name).resolve() for name in found]


def folder(module: Path) -> str:
    """Of the whole path below the page; what lies at the top is a place for itself each."""
    place = module.relative_to(PAGE)
    return str(place.parent) if place.parent.parts else str(place)


def test_what_modules_import_is_there() -> None:
    missing = [
        (str(module), str(path)) for module in MODULES for path in imports(module) if not path.is_file()
    ]
    assert len(MODULES) > 30 and missing == []


def test_folders_of_the_page_depend_on_each_other_one_way() -> None:
    needs: dict[str, set[str]] = {}
    for module in MODULES:
        needs.setdefault(folder(module), set()).update(map(folder, imports(module)))
    for name, others in needs.items():
        others.discard(name)
    assert "stream/lifecycle" in needs["stream/webrtc"]
    tuple(TopologicalSorter(needs).static_order())  # raises CycleError, which names the circle


def test_every_module_is_reached_from_the_page() -> None:
    reached: set[Path] = set()
    waiting = [PAGE / name for name in re.findall(r'src="(\w+\.js)"', (PAGE / "index.html").read_text())]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports(module)
    assert set(MODULES) - reached == set()
