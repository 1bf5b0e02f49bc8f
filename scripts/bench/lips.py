"""Lip error: how much too late a click is heard for the picture that was taken with it.

python -m scripts.bench.lips --json out/lips.json
python -m scripts.bench.lips --minutes 10                         # and so long after that
python -m scripts.bench.lips --url http://gpu-host:8080           # a server started with --stamp-source

Of what comes back, and of recordings. Without --url it is a server of its own whose engine sleeps and shows
the camera's brightness, which two cores carry. The client is headless: pictures are seen when they are
decoded, sound is heard when its packet comes.
"""

import asyncio
import io
import os
import shlex
import sys
import time
from typing import Annotated, Any

import aiohttp
import av
import numpy as np
import typer

from scripts.bench.clients.speaking import Noted, SpeakingClient, percentile
from scripts.bench.servers.launch import started
from scripts.json_file import JsonFile, write_json

SETTLE_S = 3.0  # after a change, before anything is measured
PATIENCE_S = 120.0
PAUSE_S = 4.0
GOAL_MS = 40.0


def main(
    url: Annotated[str | None, typer.Option(help="A running server, started with --stamp-source.")] = None,
    seconds: Annotated[float, typer.Option(min=5, help="Measured in each part.")] = 20.0,
    minutes: Annotated[float, typer.Option(min=0, help="Of streaming before a last part; 0: none.")] = 0.0,
    json_file: JsonFile = None,
) -> None:
    """Measure the lip error at first, after a pause, a reset and a resumed connection, and in recordings."""
    load_before = os.getloadavg()[0]
    if url is None:
        with started("scripts.bench.servers.mirror") as (address, _):
            parts = asyncio.run(measure(address, seconds, minutes))
    else:
        parts = asyncio.run(measure(url, seconds, minutes))
    rows = {name: figures(errors) for name, errors in parts.items()}
    typer.echo(table(rows))
    loads = {"load_before": load_before, "load_after": os.getloadavg()[0]}
    write_json(json_file, {"command": shlex.join(sys.argv), **loads, "goal_ms": GOAL_MS, "parts": rows})


async def measure(url: str, seconds: float, minutes: float) -> dict[str, list[float]]:
    """The errors of each part, in seconds. Raises TimeoutError, ConnectionError."""
    noted, parts = Noted(), dict[str, list[float]]()

    async def part(name: str) -> None:
        await asyncio.sleep(SETTLE_S)
        begin = time.monotonic()
        await asyncio.sleep(seconds)
        parts[name] = noted.errors(begin, time.monotonic())

    async with aiohttp.ClientSession() as http:
        client = SpeakingClient(url, noted)
        await client.connect(http)
        await client.told(lambda told: told["type"] == "state" and told["state"] == "live", PATIENCE_S)
        await asyncio.sleep(SETTLE_S)
        client.send(type="record.start", id="record")
        await part("at first")
        client.send(type="pause", id="pause")
        await asyncio.sleep(PAUSE_S)
        client.send(type="resume", id="resume")
        await part("after a pause")
        client.send(type="reset", id="reset")
        await part("after a reset")
        parts["recording of these"] = await recorded(client, http, url)
        former, _ = client.session, await client.close()
        client = SpeakingClient(url, noted, former)
        await client.connect(http)
        await part("after a resumed connection")
        if minutes:
            await asyncio.sleep(60 * minutes)
            client.send(type="record.start", id="record again")
            await part(f"{minutes:g} minutes later")
            parts["recording of that"] = await recorded(client, http, url)
        async with http.delete(f"{url}/whip/{client.session}") as response:
            await response.read()
        await client.close()
    return parts


async def recorded(client: SpeakingClient, http: aiohttp.ClientSession, url: str) -> list[float]:
    """End the recording that runs; its errors."""
    client.send(type="record.stop", id="stop")
    told = await client.told(
        lambda told: told["type"] == "recording" and told["state"] in ("stopped", "failed"), PATIENCE_S
    )
    client.messages.clear()
    async with http.get(f"{url}/sessions/{client.session}/recordings/{told['name']}") as response:
        response.raise_for_status()
        return await asyncio.to_thread(errors_of_movie, await response.read())


def errors_of_movie(movie: bytes) -> list[float]:
    """Of an MP4 with sound, in seconds."""
    noted = Noted()
    with av.open(io.BytesIO(movie), "r") as file:
        for frame in file.decode(video=0):
            noted.see(np.asarray(frame.to_ndarray(format="gray"), np.uint8), float(frame.time or 0))
    with av.open(io.BytesIO(movie), "r") as file:
        for frame in file.decode(audio=0):
            left = np.rint(frame.to_ndarray()[0] * 32767).astype(np.int32)
            noted.hear(left, float(frame.time or 0))
    return noted.errors()


def figures(errors: list[float]) -> dict[str, Any]:
    """Of one part; milliseconds."""
    return {
        "clicks": len(errors),
        "median_ms": round(1000 * float(np.median(errors)), 1) if errors else None,
        "p50_ms": percentile(errors, 50),
        "p95_ms": percentile(errors, 95),
        "errors_ms": [round(1000 * error, 1) for error in errors],
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """For people. `median`: how much too late the sound is; the others are of the size of the error."""
    lines = [f"{'':28}{'clicks':>8}{'median':>10}{'p50':>10}{'p95':>10}  of at most {GOAL_MS:g} ms"]
    for name, row in rows.items():
        values = "".join(f"{row[key]!s:>10}" for key in ("median_ms", "p50_ms", "p95_ms"))
        lines.append(f"{name:28}{row['clicks']:>8}{values}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
