"""What the pages in docs/ say to type exists."""

import re
from pathlib import Path

import pytest

from server.settings import Settings
from server.wire.protocol import decode

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_commands(page):
    for message in re.findall(r"'({\"type\".*?})'", page.read_text(encoding="utf-8")):
        decode(message)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_settings(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"DEPTHLIVE_(\w+)=", text) + re.findall(r"`(\w+) = \[", text)
    assert {name.lower() for name in named} <= set(Settings.model_fields)
