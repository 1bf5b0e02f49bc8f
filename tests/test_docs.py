"""What the pages in docs/ say to type exists."""

import re
from pathlib import Path

import pytest

from server.protocol.codec import decode
from server.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


LINK = re.compile(r"\]\(([^)#]+)\)")
COMMAND = re.compile(r"'({\"type\".*?})'")
SETTING = re.compile(r"DEPTHLIVE_(\w+)=|`(\w+) = \[")


def found(pattern: re.Pattern[str], page: Path) -> list[str]:
    matches = pattern.finditer(page.read_text(encoding="utf-8"))
    return [next(filter(None, match.groups())) for match in matches]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in found(LINK, page):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_commands(page):
    for message in found(COMMAND, page):
        decode(message)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_settings(page):
    assert {name.lower() for name in found(SETTING, page)} <= set(Settings.model_fields)


@pytest.mark.parametrize(("pattern", "least"), [(LINK, 2), (COMMAND, 2), (SETTING, 5)])
def test_there_are_some_to_be_checked(pattern, least):
    """A page whose quoting changes would else pass with nothing looked at."""
    assert sum(len(found(pattern, page)) for page in PAGES) >= least
