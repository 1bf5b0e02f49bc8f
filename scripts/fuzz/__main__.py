"""Fuzzer: `python -m scripts.fuzz`, what strangers send, mutated from known inputs, and what comes of it.

    python -m scripts.fuzz --count 1000                  # of each kind
    python -m scripts.fuzz --only offers --count 10000 --seed 3

An input that is neither taken nor refused in words is written into `--keep`, and the exit status is 1.
`python -m scripts.fuzz.guided` looks by coverage, for hours.
"""

import hashlib
import re
import resource
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from scripts.fuzz.file_targets import file_targets
from scripts.fuzz.mutation import series
from scripts.fuzz.targets import Target, targets
from scripts.json_file import write_json

DEFAULT_COUNT = 1000
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
LONGEST_WORDS = 200


@dataclass(slots=True)
class Outcome:
    """What came of one target's inputs."""

    tried: int = 0
    taken: int = 0
    refused: int = 0
    faults: dict[str, str] = field(
        default_factory=dict[str, str]
    )  # the last line of each, by its input's hash
    longest_ms: float = 0.0
    grown_mib: float = 0.0  # the process's peak, by these inputs


def fuzz(target: Target, count: int, seed: int, keep: Path | None) -> Outcome:
    """Try so many inputs; the first ones are the target's own."""
    outcome, before = Outcome(), _peak_mib()
    input_at = series(target.seeds, target.mutate, seed)
    for number in range(count):
        data = input_at(number)
        began = time.perf_counter()
        try:
            if target.accepts(data):
                outcome.taken += 1
            else:
                outcome.refused += 1
        except Exception:  # that is what is looked for
            name = hashlib.sha256(data).hexdigest()[:16]
            outcome.faults[name] = traceback.format_exc().strip().splitlines()[-1]
            if keep is not None:
                _keep(keep / target.name, name, data)
        outcome.longest_ms = max(outcome.longest_ms, (time.perf_counter() - began) * 1e3)
        outcome.tried += 1
    outcome.grown_mib = _peak_mib() - before
    return outcome


def _keep(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / f"{name}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(name: str, outcome: Outcome) -> str:
    return (
        f"{name:<12}{outcome.tried:>9}{outcome.taken:>9}{outcome.refused:>9}{len(outcome.faults):>8}"
        f"{outcome.longest_ms:>12.1f}{outcome.grown_mib:>11.1f}"
    )


def main(
    only: Annotated[list[str] | None, typer.Option(help="Kinds of input; all without.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Inputs of each kind.")] = DEFAULT_COUNT,
    seed: Annotated[int, typer.Option(help="Another one, other inputs.")] = 0,
    keep: Annotated[Path, typer.Option(help="Where inputs that fail are written.")] = Path("out/fuzz"),
    json_file: Annotated[Path | None, typer.Option("--json", help="The table as JSON.")] = None,
    is_guided: Annotated[
        bool, typer.Option("--guided", help="One kind, by coverage, without an end.")
    ] = False,
) -> None:
    known = targets() | file_targets()
    names = only or list(known)
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{unknown[0]!r}: expected one of {', '.join(known)}", param_hint="--only")
    typer.echo(
        f"{'input':<12}{'tried':>9}{'taken':>9}{'refused':>9}{'faults':>8}{'longest ms':>12}{'grown MiB':>11}"
    )
    outcomes: dict[str, Outcome] = {}
    for name in names:
        outcomes[name] = fuzz(known[name], count, seed, keep)
        typer.echo(row(name, outcomes[name]))
    for name, outcome in outcomes.items():
        by_words = {ADDRESS.sub("0x…", words): input_name for input_name, words in outcome.faults.items()}
        for words, input_name in by_words.items():  # one example of each
            typer.echo(f"{keep / name / input_name}: {words[:LONGEST_WORDS]}", err=True)
    write_json(json_file, {name: asdict(outcome) for name, outcome in outcomes.items()})
    raise typer.Exit(any(outcome.faults for outcome in outcomes.values()))


if __name__ == "__main__":
    typer.run(main)
