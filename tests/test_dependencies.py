"""Dependencies: each has an upper bound, so that no release that nobody has tried is installed."""

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS = {"dependencies": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


@pytest.mark.parametrize("group", GROUPS)
def test_law_a_dependency_has_an_upper_bound(group):
    unbound = [
        one
        for one in GROUPS[group]
        if not one.startswith(f"{PROJECT['name']}[") and not re.search(r"<\s*\d|==", one.partition(";")[0])
    ]
    assert unbound == [], "each expects a bound such as <3"
