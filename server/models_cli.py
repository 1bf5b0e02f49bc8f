"""Command `depthlive models`: see, fetch and check the files of the presets."""

from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

import streaming.hub.pull as hub
from server.progress_bar import progress_bar

FAILED, MISUSED = 1, 2  # exit codes

models_app = typer.Typer(no_args_is_help=True, help="See, fetch and check the files of the models.")


def _known(preset: str) -> str:
    if preset not in hub.REMOTE_FILES:
        raise typer.BadParameter(f"{preset!r} is none of {', '.join(sorted(hub.REMOTE_FILES))}")
    return preset


PresetName = Annotated[
    str, typer.Argument(metavar="PRESET", help="A name that `list` shows.", callback=_known)
]


@models_app.command("list")
def list_presets() -> None:
    """Show every preset, its size, and what of it is on this machine. Asks no network."""
    table = Table("Preset", "Files", "Size", "On disk", "State")
    try:
        for preset in sorted(hub.REMOTE_FILES):
            table.add_row(preset, *_row(hub.inventory(preset)))
    except hub.HubError as error:
        _fail(str(error))
    Console().print(table)


def _row(files: list[hub.FileState]) -> tuple[str, str, str, str]:
    if not files:
        return "none", "-", "-", "built in"
    known, here = sum(file.size or 0 for file in files), sum(file.here for file in files)
    at_least = "" if all(file.size is not None for file in files) else "over "  # before the first pull
    is_whole = all(file.here == file.size for file in files)
    state = "complete" if is_whole else "incomplete" if here else "not pulled"
    return str(len(files)), f"{at_least}{hub.readable(known)}", hub.readable(here), state


@models_app.command()
def pull(
    preset: PresetName,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only check that everything is here; never ask the network.")
    ] = False,
) -> None:
    """Fetch the files of a preset; what is here already stays, and a broken download goes on.

    Files go to the Hugging Face cache (HF_HOME). HF_ENDPOINT names a mirror; a gated model needs HF_TOKEN, or
    `hf auth login` once. Ends with 1 when it did not succeed, and says why.
    """
    try:
        with progress_bar() as show:
            paths = hub.pull(preset, on_progress=show, offline=offline)
    except hub.HubError as error:
        _fail(str(error))
    for role, path in paths.items():
        typer.echo(f"{role}: {path}")
    typer.echo(f"{preset} is complete." if paths else f"{preset} is built in: it needs no files.")


@models_app.command()
def verify(preset: PresetName) -> None:
    """Read every file of a preset and compare it with what was pulled; then see that the model can take it.

    Ends with 1 when something is wrong, and says how to mend it.
    """
    try:
        with progress_bar() as show:
            problems = hub.verify(preset, on_progress=show)
    except hub.HubError as error:
        _fail(str(error))
    for problem in problems:
        typer.echo(f"{problem.file} {problem.text}", err=True)
    if problems:
        raise typer.Exit(FAILED)
    typer.echo(f"{preset} is as it was published.")


def _fail(message: str) -> NoReturn:
    typer.echo(f"depthlive: {message}", err=True)
    raise typer.Exit(FAILED)
