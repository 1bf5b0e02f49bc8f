"""Faults are put in, seen or not, on a copy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.mutants import faults_of

TOOL = Path(__file__).parents[2] / "scripts" / "mutants.py"

SOURCE = """
LIMIT = 3

def admits(count, is_open=True):
    return is_open and count < LIMIT
"""
WEAK = "from kit.gate import admits\n\ndef test_open():\n    assert admits(1) and not admits(9)\n"
STRONG = WEAK + "    assert admits(2) and not admits(3) and not admits(1, is_open=False)\n"


def after(source: str) -> set[str]:
    return {fault.put_into(source) for fault in faults_of(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", {"a = (b <= c)"}),
        ("a = b is not None", {"a = (b is None)"}),
        ("a = b and not c", {"a = ((b))", "a = ((not c))"}),
        ("a = 3", {"a = (4)", "a = (2)"}),
        ("a = 0.5", {"a = (1.0)", "a = (0.25)"}),
        ("a = 0.0", {"a = (1.0)", "a = (-1.0)"}),
        ("a = True", {"a = False"}),
        ("if b:\n    f(c)", {"if (not (b)):\n    f(c)", "if b:\n    pass"}),
        ("a = b if c else d", {"a = b if (not (c)) else d"}),
        ("a = [b for b in c if b]", {"a = [b for b in c if (not (b))]"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"pass"}),
        ("a = 'ä', 'ä' == b", {"a = 'ä', ('ä' != b)"}),  # places are counted in bytes
        ("f(\n    b,\n)\nc = d", {"pass\nc = d"}),
    ],
)
def test_each_kind_of_fault_is_put_where_it_belongs(source: str, expected: set[str]) -> None:
    assert after(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "@dataclass(frozen=True)\nclass A: ...",
        "a: Literal[3]",
        '"""Says 3 < 4."""',
        "a = f'{b < 3}'",
        "a = b",
    ],
)
def test_what_is_no_fault_is_left_alone(source: str) -> None:
    assert not faults_of(source)


def mutants(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in `tree`, with a pytest that loads no plugins, which take longest."""
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, TOOL, *arguments], cwd=tree, capture_output=True, text=True, env=environment
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project of its own, not yet committed."""
    for name, text in {"kit/gate.py": SOURCE, "tests/kit/test_gate.py": WEAK}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def test_survivors_are_named_until_the_tests_see_them_and_the_checkout_is_untouched(tree: Path) -> None:
    weak = mutants(tree, "kit/gate.py", "--lines", "2-4")
    assert weak.returncode == 1, weak.stderr
    said, _, lived = weak.stdout.partition("\n2 lived\n")
    assert said.splitlines()[2].startswith("3/3 seen  kit/gate.py:4")
    assert lived.splitlines() == ["kit/gate.py:2  3  ->  (4)", "kit/gate.py:2  3  ->  (2)"]
    assert (tree / "kit/gate.py").read_text() == SOURCE

    (tree / "tests/more.py").write_text(STRONG)
    strong = mutants(tree, "kit/gate.py", "--lines", "2-2", "--tests", "tests/more.py")
    assert strong.returncode == 0 and "0 lived" in strong.stdout


def test_tests_that_fail_or_are_missing_say_so(tree: Path) -> None:
    (tree / "tests/kit/test_gate.py").write_text(WEAK.replace("1", "7"))
    failing = mutants(tree, "kit/gate.py")
    assert failing.returncode == 1 and "fails without a fault" in failing.stderr
    (tree / "tests/kit/test_gate.py").unlink()
    missing = mutants(tree, "kit/gate.py")
    assert missing.returncode == 2 and "there is no tests/kit/test_gate.py" in missing.stderr
