"""Types of the page's JavaScript: tsc holds it to its JSDoc as tsconfig.json says. Ends with tsc's status.

python scripts/page_types.py

A machine without TypeScript that npx cannot fetch it to is told so, and passes.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TYPESCRIPT = "typescript@5.9.3"
LIMIT_S = 120.0


def compiler() -> list[str] | None:
    """A command that runs tsc: the machine's own, or through npx, which fetches it once."""
    if (found := shutil.which("tsc")) is not None:
        return [found]
    if (npx := shutil.which("npx")) is None:
        return None
    command = [npx, "--yes", "--package", TYPESCRIPT, "tsc"]
    try:
        check = subprocess.run([*command, "--version"], capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    return command if check.returncode == 0 else None


def main() -> int:
    command = compiler()
    if command is None:
        print("the page's types were not checked: no TypeScript here, and npx cannot fetch it")
        return 0
    return subprocess.run([*command, "-p", str(ROOT)], timeout=LIMIT_S, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
