"""Progress bar of a download, on the terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from streaming.hub.pull import Progress as Step


@contextmanager
def progress_bar() -> Generator["Callable[[Step], None]"]:
    """A bar for the whole, headed by the file under way; from the first step on, and on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task: TaskID | None = None

        def show(step: "Step") -> None:
            nonlocal task
            if task is None:
                task = bars.add_task("", total=None)
            name = step.file.rpartition("/")[2]
            text = name if step.stage == "download" else f"checking {name}"
            bars.update(task, description=text, completed=step.all_done, total=step.all_total)

        yield show
