"""Fuzzing in short: each kind of input that strangers give, mutated, is taken or refused in words.

What has failed once lies in corpus/, a folder for each kind, and is tried again.
"""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.fuzz import __main__ as command
from scripts.fuzz.file_targets import file_targets
from scripts.fuzz.mutation import bytes_of, json_of, lines_of, series
from scripts.fuzz.targets import BadRefusal, Target, targets

CORPUS = Path(__file__).parent / "corpus"
TARGETS = targets() | file_targets()
COUNT = 400  # of each kind


@pytest.mark.parametrize("name", TARGETS)
def test_law_what_strangers_give_is_taken_or_refused_in_words(name):
    outcome = command.fuzz(TARGETS[name], COUNT, seed=0, keep=None)
    assert not outcome.faults
    assert outcome.tried == COUNT == outcome.taken + outcome.refused
    assert outcome.taken and outcome.refused, "both sides of the border are tried"


@pytest.mark.parametrize(
    "path", sorted(CORPUS.rglob("*.bin")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_what_has_failed_once(path):
    TARGETS[path.parent.name].accepts(path.read_bytes())


def fails(words: str, error: type[Exception] = ValueError) -> Target:
    def read(data: bytes) -> None:
        raise error(words)

    return Target("any", [b"a", b"b"], bytes_of, read, (ValueError,))


def test_a_fault_is_counted_kept_and_told(tmp_path):
    outcome = command.fuzz(fails("oh", KeyError), 2, seed=0, keep=tmp_path)
    assert (outcome.taken, outcome.refused, len(outcome.faults)) == (0, 0, 2)
    kept = {path.read_bytes() for path in (tmp_path / "any").iterdir() if not path.suffix}
    assert kept == {b"a", b"b"}
    assert all("KeyError" in path.read_text() for path in (tmp_path / "any").glob("*.txt"))


@pytest.mark.parametrize("words", ["", "  ", "cannot read <_io.BytesIO object at 0x7f>", "got NoneType"])
def test_a_refusal_without_words_of_its_own_is_a_fault(words):
    with pytest.raises(BadRefusal):
        fails(words).accepts(b"")
    assert fails("expected a picture").accepts(b"") is False


def test_the_command_ends_with_one_after_a_fault(monkeypatch, tmp_path):
    app = command.typer.Typer()
    app.command()(command.main)
    run = CliRunner().invoke
    arguments = ["--count", "3", "--keep", str(tmp_path), "--json", str(tmp_path / "fuzz.json")]
    monkeypatch.setattr(command, "targets", lambda: {"any": replace(fails("no"), seeds=[b"x"])})
    assert run(app, arguments).exit_code == 0
    assert json.loads((tmp_path / "fuzz.json").read_text())["any"]["refused"] == 3
    monkeypatch.setattr(command, "targets", lambda: {"any": fails("no", KeyError)})
    done = run(app, arguments)
    assert done.exit_code == 1 and "KeyError" in done.output
    assert "expected one of any" in run(app, ["--only", "none-such"]).output


@pytest.mark.parametrize("mutate", [bytes_of, lines_of, json_of])
def test_law_the_same_seed_gives_the_same_inputs(mutate):
    seeds = [b'{"a": [1, {"b": null}], "c": "d\\r\\ne"}']
    first, again, other = (list(map(series(seeds, mutate, seed), range(40))) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0] == seeds[0] and len(set(first)) > 20


def test_nothing_is_too_short_to_be_mutated():
    for data in (b"", b"a", b"{}"):
        for mutate in (bytes_of, lines_of):
            assert isinstance(mutate(data, random.Random(0)), bytes)
    assert isinstance(json_of(b"{}", random.Random(0)), bytes)
