"""Entry point of `python -m server`, which is `depthlive serve`: the same flags, the same server."""

import sys

from server.cli import app

if __name__ == "__main__":
    app(["serve", *sys.argv[1:]], prog_name="python -m server")
