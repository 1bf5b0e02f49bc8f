"""Glass-to-glass latency over real connections: numbered frames go in, the numbers are read off at the end.

python -m scripts.bench.latency --seconds 30 --json out/latency.json
python -m scripts.bench.latency --transport ws                    # where UDP is blocked
python -m scripts.bench.latency --browser --runs 3                # as a viewer sees it, in Chromium
python -m scripts.bench.latency --browser --transport ws          # the same, by the page's WebSocket
python -m scripts.bench.latency --switches 40                     # how soon a new prompt shows
python -m scripts.bench.latency --url http://gpu-host:8080        # a server started with --stamp-source

Each run is followed by one against an echo server on this machine, over the same transport: what that takes
is the transport's share.
"""

import asyncio
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from scripts.bench.clients.browser import run_in_browser
from scripts.bench.clients.numbered_camera import NumberedCamera
from scripts.bench.clients.numbered_clip import FPS as CLIP_FPS
from scripts.bench.clients.webrtc import BenchClient
from scripts.bench.clients.websocket import BenchSocketClient
from scripts.bench.figures.latency_report import build_report, explain, table
from scripts.bench.figures.run_record import RunRecord
from scripts.bench.servers.launch import serving, started
from scripts.json_file import JsonFile, write_json
from server.websocket.media_frame import Kind

DEFAULT_PROMPTS = ("a winter forest at night", "a statue of molten gold", "coloured paper, folded")
ECHO_PATIENCE_S = 30.0


class Transport(StrEnum):
    """What carries the pictures."""

    whip = "whip"
    ws = "ws"


class Video(StrEnum):
    """What the pictures are on a WebSocket."""

    vp8 = "vp8"
    jpeg = "jpeg"


Run = Callable[[str, bool], RunRecord]  # (address, whether it is the echo server) -> what was seen


def main(
    url: Annotated[
        str | None,
        typer.Option(help="A running server, started with --stamp-source. Default: start one here."),
    ] = None,
    server_args: Annotated[
        str, typer.Option(help='Further flags for the server started here, e.g. "--device cuda".')
    ] = "",
    browser: Annotated[
        bool,
        typer.Option("--browser", help="Measure on the page, in headless Chromium; no prompt switches."),
    ] = False,
    transport: Annotated[
        Transport, typer.Option(help="WebRTC by WHIP, or the WebSocket that stands in for it.")
    ] = Transport.whip,
    video: Annotated[
        Video, typer.Option(help="What a WebSocket carries; WebRTC chooses by itself.")
    ] = Video.vp8,
    seconds: Annotated[float, typer.Option(min=2, help="Measured after the first generated picture.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Sessions in a row; the table has their medians.")] = 1,
    floor: Annotated[bool, typer.Option(help="Measure an echo server after each run.")] = True,
    fps: Annotated[
        float, typer.Option(min=1, max=120, help="Camera frames per second; a browser's are 30.")
    ] = 30.0,
    size: Annotated[str, typer.Option(help="Camera picture, WIDTHxHEIGHT.")] = "640x480",
    prompt: Annotated[
        list[str] | None, typer.Option(help="Prompt to switch to during the run; repeat for several.")
    ] = None,
    steady: Annotated[bool, typer.Option("--steady", help="No prompt switches at even intervals.")] = False,
    switches: Annotated[
        int, typer.Option(min=0, help="So many more switches, at random moments at the end of each run.")
    ] = 0,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the first generated picture.")
    ] = 120.0,
    json_file: JsonFile = None,
) -> None:
    """Measure latency, frame rate, freezes and prompt switches of a stream, beside the transport's floor."""
    width, height = parse_size(size)
    if steady and prompt:
        raise typer.BadParameter("--steady switches to no --prompt")
    if browser and (prompt or switches):
        raise typer.BadParameter("--browser switches no prompts: leave out --prompt and --switches")
    fps = CLIP_FPS if browser else fps
    prompts = () if steady else prompt or DEFAULT_PROMPTS
    load_before = os.getloadavg()[0]

    def run(address: str, is_echo: bool) -> RunRecord:
        wait = ECHO_PATIENCE_S if is_echo else patience
        if browser:
            query = f"transport={transport}&video={video}"
            return run_in_browser(address, (width, height), seconds, wait, echo=is_echo, query=query)
        camera = NumberedCamera(width, height, fps)
        if transport is Transport.whip:
            client = BenchClient(address, camera, echo=is_echo)
        else:
            client = BenchSocketClient(address, camera, echo=is_echo, kind=Kind[video.upper()])
        try:
            return asyncio.run(client.run(seconds, prompts, wait, switches))
        except TimeoutError as error:
            raise ConnectionError(explain(error, client.recording, wait)) from None

    try:
        measured, floors, start_s = measure(run, runs, url, server_args, has_floor=floor)
    except (TimeoutError, ConnectionError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    report = build_report(
        measured,
        floors,
        command=shlex.join(sys.argv),
        way=way(browser, transport, video),
        camera={"width": width, "height": height, "fps": fps},
        server_start_s=start_s,
        load_before=load_before,
    )
    typer.echo(table(report))
    write_json(json_file, report)


def way(browser: bool, transport: Transport, video: Video) -> str:
    """What carries the pictures, in words."""
    client = "page in Chromium" if browser else "headless client"
    return f"{client}, " + ("WebRTC" if transport is Transport.whip else f"{video.upper()} over a WebSocket")


def measure(
    run: Run, runs: int, url: str | None, server_args: str, *, has_floor: bool
) -> tuple[list[RunRecord], list[RunRecord], float | None]:
    """`runs` sessions of the server, each followed by one of the echo server; seconds until it was ready."""
    measured: list[RunRecord] = []
    floors: list[RunRecord] = []
    with contextlib.ExitStack() as stack:
        address, start_s = stack.enter_context(serving(url, server_args))
        echo = stack.enter_context(started("scripts.bench.servers.echo"))[0] if has_floor else None
        for _ in range(runs):
            measured.append(run(address, False))
            if echo is not None:
                floors.append(run(echo, True))
    return measured, floors, start_s


def parse_size(size: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480). Raises typer.BadParameter unless both are even numbers of 32 to 4096."""
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    numbers = tuple(map(int, match.groups())) if match else ()
    if len(numbers) != 2 or any(number % 2 or not 32 <= number <= 4096 for number in numbers):
        raise typer.BadParameter(
            f"{size!r}: expected WIDTHxHEIGHT, even numbers from 32 to 4096", param_hint="--size"
        )
    return numbers[0], numbers[1]


if __name__ == "__main__":
    typer.run(main)
