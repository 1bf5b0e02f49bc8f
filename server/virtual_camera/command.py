"""Command `depthlive camera`: the pictures of a session as a webcam for other programs."""

import asyncio
import logging
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import aiohttp
import typer
from aiohttp import hdrs

from server.access.tokens import SESSION
from server.media.frames import Size
from server.virtual_camera.device import CameraUnavailable, VirtualCamera
from server.virtual_camera.feed import Feed
from server.virtual_camera.watch import SessionOver, watch
from server.virtual_camera.whep_client import WatchLost, WatchRefused

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit codes
SIDES = range(16, 4097)  # of the camera's picture, pixels
TOKEN = r"[!-~]{1,4096}"


def camera(
    session: Annotated[
        str,
        typer.Option(help="Id of the session: the page's Signal tab shows it, and it ends a WHIP Location."),
    ],
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8080",
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with a token that may watch, where the server asks for one."),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="WxH", help="Of the camera's picture. The session's is fitted into it, black beside it."
        ),
    ] = "1280x720",
    fps: Annotated[float, typer.Option(min=1, max=120, help="Rate that the camera announces.")] = 30.0,
    device: Annotated[
        str | None, typer.Option(help="Which virtual camera, where there are several, as /dev/video2.")
    ] = None,
) -> None:
    """Feed a virtual camera with what a session generates, for any program that takes a webcam.

    Needs `pip install 'depthlive[camera]'` and a virtual camera of the system: OBS brings one for Windows and
    macOS, v4l2loopback is one for Linux. Watches the session as a viewer does, and again by itself when the
    connection was lost; ends with the session, or when interrupted.
    """
    logging.basicConfig(level=logging.ERROR)
    address = f"{_server(url)}/sessions/{_session(session)}/whep"
    headers = _headers(token_file)
    try:
        opened = VirtualCamera.open(_size(size), fps=fps, device=device)
    except CameraUnavailable as error:
        _stop(str(error), FAILED)
    typer.echo(f"The virtual camera {opened.name} is open, {size} at {fps:g} pictures a second.")
    try:
        asyncio.run(_feed(opened, address, headers))
    except SessionOver:
        typer.echo("The session is over.")
    except (CameraUnavailable, WatchLost, WatchRefused) as error:
        _stop(str(error), FAILED)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None


async def _feed(camera: VirtualCamera, address: str, headers: dict[str, str]) -> None:
    """Until the session is over, or one of the two cannot go on. Raises what they do."""
    feed = Feed(camera)
    told = ""

    def tell(words: str) -> None:
        nonlocal told
        if words != told:  # a server that is away for hours
            typer.echo(f"{words[:1].upper()}{words[1:]}.")
        told = words

    task = asyncio.current_task()
    with suppress(NotImplementedError, RuntimeError):  # Windows has none; a thread may not
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # pyright: ignore[reportOptionalMemberAccess] -- this is one
    async with aiohttp.ClientSession(headers=headers) as http:
        works = [
            asyncio.create_task(feed.run()),
            asyncio.create_task(watch(http, address, feed.show, tell)),
        ]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
    for work in done:
        work.result()


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        _stop(f"url: expected the address of a server, as http://127.0.0.1:8080, got {url!r:.80}", MISUSED)
    return url.rstrip("/")


def _session(id: str) -> str:
    if not re.fullmatch(SESSION, id):
        _stop(f"session: expected the id of a session, got {id!r:.80}", MISUSED)
    return id


def _size(text: str) -> Size:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if any(side not in SIDES or side % 2 for side in size):
        _stop(
            f"size: expected WIDTHxHEIGHT, even numbers from {SIDES[0]} to {SIDES[-1]}, as 1280x720, "
            f"got {text!r:.80}",
            MISUSED,
        )
    return size


def _headers(token_file: Path | None) -> dict[str, str]:
    """What tells the server who asks."""
    if token_file is None:
        return {}
    try:
        token = token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        _stop(f"token-file: {token_file} cannot be read: {error}", MISUSED)
    if not re.fullmatch(TOKEN, token):
        _stop(f"token-file: expected one token and nothing else in {token_file}", MISUSED)
    return {hdrs.AUTHORIZATION: f"Bearer {token}"}


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"depthlive: {message}", err=True)
    raise typer.Exit(code)
