"""The table of the feature document's promises names what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROMISES = (ROOT / "ARCHITECTURE.md").read_text().partition("## The feature document, promise by promise")[2]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", PROMISES)))


def test_it_names_sources_and_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("file", "test"), NAMED, ids="::".join)
def test_every_file_and_test_it_names_exists(file: str, test: str) -> None:
    places = [path for path in (ROOT / file, ROOT / "tests" / file) if path.is_file()]
    assert places, f"{file} is neither here nor in tests/"
    assert not test or f"def {test}(" in places[-1].read_text()
