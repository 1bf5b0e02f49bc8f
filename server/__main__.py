"""Entry points: `depthlive`, and `python -m server`, which is `depthlive serve`."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from server.environment import MISREAD, misread


def depthlive(*first: str, name: str | None = None) -> None:
    """Run the command line, `first` before its arguments."""
    told = io.StringIO()
    try:
        with redirect_stdout(told), redirect_stderr(told):  # a library tells of its failure, too
            from server.cli import app  # here: libraries that it imports read the environment
        sys.stderr.write(told.getvalue())
        app([*first, *sys.argv[1:]], prog_name=name)
    except MISREAD as error:
        if (words := misread(error, os.environ)) is None:
            raise
        sys.stderr.write(f"depthlive: {words}\n")
        sys.exit(2)


if __name__ == "__main__":
    depthlive("serve", name="python -m server")
