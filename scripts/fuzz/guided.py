"""Fuzzer that is led by what its inputs reach (atheris): for hours, one kind of input at a time.

    pip install -e '.[fuzz]'
    python -m scripts.fuzz.guided pictures -max_total_time=3600

What follows the kind are libFuzzer's own flags. It ends with the first fault, and writes that input down.
"""

import sys

import atheris  # pyright: ignore[reportMissingModuleSource] -- an extra

OURS = ["server", "streaming.checkpoints", "scripts"]

with atheris.instrument_imports(include=OURS):  # pyright: ignore[reportAttributeAccessIssue] -- not in its stubs
    from scripts.fuzz.file_targets import file_targets
    from scripts.fuzz.targets import targets


def main() -> None:
    known = targets() | file_targets()
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        raise SystemExit(f"expected one of {', '.join(known)}, and then libFuzzer's flags")
    target = known[sys.argv[1]]

    def try_one(data: bytes) -> None:
        target.accepts(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
