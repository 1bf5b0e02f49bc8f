"""Command `depthlive token`: makes a token that the server's secret signs."""

import re
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from server.access.errors import UnusableAccess
from server.access.tokens import NAME, SESSION, Grant, Role, SignedTokens, read_secret
from server.settings import ENV_PREFIX

DAY_S = 24 * 3600


def token(
    role: Annotated[
        Role,
        typer.Option(
            help="publish: sessions of its own, with all that concerns them. control: send commands, and "
            "watch. view: watch. admin: everything."
        ),
    ],
    auth_secret_file: Annotated[
        Path,
        typer.Option(
            envvar=f"{ENV_PREFIX}AUTH_SECRET_FILE",
            help="The file that the server is started with. `openssl rand -base64 48 > FILE` makes one.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Whose it is: sessions belong to names. Default: one of its own for each token."),
    ] = None,
    session: Annotated[str | None, typer.Option(help="Id of the one session that it is for.")] = None,
    days: Annotated[float, typer.Option(min=0, help="How long it is good; 0 for ever.")] = 30.0,
) -> None:
    """Print a token, to be sent as `Authorization: Bearer TOKEN` or typed into the page."""
    name = secrets.token_hex(6) if name is None else name
    if not re.fullmatch(NAME, name):
        raise typer.BadParameter("expected up to 64 letters, digits, and _ . @ -", param_hint="--name")
    if session is not None and not re.fullmatch(SESSION, session):
        raise typer.BadParameter("expected the id of a session", param_hint="--session")
    try:
        signed = SignedTokens(read_secret(auth_secret_file))
    except UnusableAccess as error:
        typer.echo(f"depthlive: {error}", err=True)
        raise typer.Exit(2) from error
    expires = int(time.time() + days * DAY_S) if days else None
    typer.echo(signed.make(Grant(name, role, session, expires)))
