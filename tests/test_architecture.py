"""Paths that the documents name: each exists, and so does each test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    "ARCHITECTURE.md": 60,
    "CONTRIBUTING.md": 10,
    "docs/feature-document.md": 40,
    "docs/reliability.md": 20,
}
NAMED = sorted(
    {
        (page, file, test)
        for page in DOCUMENTS
        for file, test in re.findall(
            r"`((?:\w+/)+(?:\w+\.(?:py|js))?)(?:::(\w+))?`", (ROOT / page).read_text(encoding="utf-8")
        )
    }
)


@pytest.mark.parametrize("page", DOCUMENTS)
def test_it_names_sources_and_tests(page: str) -> None:
    assert len([name for name in NAMED if name[0] == page]) >= DOCUMENTS[page]


@pytest.mark.parametrize(("page", "file", "test"), NAMED, ids=lambda value: value or "-")
def test_every_file_and_test_it_names_exists(page: str, file: str, test: str) -> None:
    places = [path for path in (ROOT / file, ROOT / "tests" / file) if path.exists()]
    assert places, f"{file} is neither here nor in tests/"
    assert not test or f"def {test}(" in places[-1].read_text(encoding="utf-8")
