#!/usr/bin/env python
"""Mutation testing: one-line faults put into a file, one after the other. Which does no test see?

    python scripts/mutants.py server/session/chunk_assembler.py
    python scripts/mutants.py server/session/chunk_assembler.py --lines 100-120 --tests tests/server/session

The file's mirrored tests run first (tests/server/session/test_chunk_assembler.py), then those given with
`--tests`, in a copy of the tree at the working directory: the checkout is never written to. A survivor is a
missing test, or a fault that changes nothing: look at each. The exit status is 1 if one lived.

Why not mutmut: it passes over decorated functions (here all that run under `torch.inference_mode`), constants
of modules and defaults of classes. Why not cosmic-ray: it edits the checkout, and drops no calls.
"""

import argparse
import ast
import copy
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A piece of a source, in bytes [start, end), and what is to stand there instead."""

    line: int
    start: int
    end: int
    before: str
    after: str

    def put_into(self, source: str) -> str:
        raw = source.encode()
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()


def faults_of(source: str) -> list[Fault]:
    """All one-line faults of a Python source, in the order of its lines."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, after in _replacements(ast.parse(source)):
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = source.encode()[start:end].decode()
        found.append(Fault(node.lineno, start, end, before, after))
    return sorted(found, key=lambda fault: (fault.line, fault.start))


def _replacements(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    # Positions within an f-string are not those of the source before Python 3.12.
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        left_alone = [*getattr(node, "decorator_list", ()), getattr(node, "annotation", None)]
        nodes += [
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.JoinedStr) and child not in left_alone
        ]
        match node:
            case ast.Compare(ops=[operator, *_]) if type(operator) in OPPOSITE:
                other = copy.deepcopy(node)
                other.ops[0] = OPPOSITE[type(operator)]()
                yield node, f"({ast.unparse(other)})"
            case ast.BoolOp(values=values):
                for left_out in values:
                    rest = [ast.unparse(value) for value in values if value is not left_out]
                    word = " and " if isinstance(node.op, ast.And) else " or "
                    yield node, "(" + word.join(f"({value})" for value in rest) + ")"
            case ast.Constant(value=bool(value)):
                yield node, str(not value)
            case ast.Constant(value=int(value)):
                yield node, f"({value + 1})"
                yield node, f"({value - 1})"
            case ast.Constant(value=float(value)):
                yield node, f"({2 * value or 1.0!r})"
                yield node, f"({value / 2 or -1.0!r})"
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign():
                yield node, "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield node, "pass"
            case _:
                pass
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield test, f"(not ({ast.unparse(test)}))"
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield test, f"(not ({ast.unparse(test)}))"
            case _:
                pass


def copy_tree(to: Path) -> None:
    """What git knows or would take, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if Path(name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, to / name)


def preload(tree: Path, files: list[str]) -> None:
    """Import what `files` import from elsewhere, once for all: torch alone takes longer than most tests."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # as tests/conftest.py asks for
    names: set[str] = set()
    for node in ast.walk(ast.parse("\n".join((tree / file).read_text() for file in files))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
            case _:
                pass
    # pytest wants to import itself what it rewrites.
    for name in sorted(names - {"hypothesis", "pytest"}):
        if name != "__future__" and not (tree / name.split(".")[0]).exists():
            importlib.import_module(name)


def passes(tree: Path, tests: list[str], seconds: float) -> bool:
    """Run `tests` in a process of their own; one that hangs has seen the fault."""
    sys.stdout.flush()
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    try:
        signal.alarm(int(seconds))  # nobody handles it: the process dies
        os.chdir(tree)
        sys.path[0] = str(tree)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        pytest = importlib.import_module("pytest")
        # What is preloaded may bring a plugin along, which pytest would have liked to import itself.
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        os._exit(int(pytest.main([*options, *tests])))
    finally:
        os._exit(1)


def survivors(file: str, tests: list[str], lines: range) -> list[Fault]:
    """Raises SystemExit if the tests fail without a fault."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree, lived = Path(folder), []
        copy_tree(tree)
        source = (tree / file).read_text()
        preload(tree, [file, *tests])
        began = time.monotonic()
        if not passes(tree, tests, 3600):
            raise SystemExit(f"{' '.join(tests)}: fails without a fault")
        limit = 30 + 5 * (time.monotonic() - began)
        # Compiled files are told apart by length and second, which two faults may share.
        sys.dont_write_bytecode = True
        for compiled in (tree / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
            compiled.unlink()
        faults = [fault for fault in faults_of(source) if fault.line in lines]
        for number, fault in enumerate(faults, start=1):
            (tree / file).write_text(fault.put_into(source))
            if lives := passes(tree, tests, limit):
                lived.append(fault)
            print(f"{number}/{len(faults)} {'LIVES' if lives else 'seen '} {shown(file, fault)}")
    return lived


def shown(file: str, fault: Fault) -> str:
    before, after = (" ".join(text.split()) for text in (fault.before, fault.after))
    return f"{file}:{fault.line}  {before}  ->  {after}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help="a Python source, from the root of the tree")
    parser.add_argument("--tests", nargs="*", default=[], help="test files after the mirrored one")
    parser.add_argument("--lines", default="1-1000000", help="FIRST-LAST: faults in these lines alone")
    given = parser.parse_args(arguments)
    path, (first, last) = Path(given.file), map(int, given.lines.split("-"))
    mirror = Path("tests") / path.parent / f"test_{path.name}"
    tests = [str(mirror)] * mirror.is_file() + given.tests
    if not tests:
        parser.error(f"there is no {mirror}: say with --tests what is to see the faults")
    lived = survivors(str(path), tests, range(first, last + 1))
    print(f"\n{len(lived)} lived", *(shown(given.file, fault) for fault in lived), sep="\n")
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
