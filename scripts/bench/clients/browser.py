"""The benchmark in a real browser: headless Chromium opens a page and its camera is a numbered clip.

A page has one clock for both ends: a frame's number is read off a canvas when the camera gives it and again
when it is shown, so nothing of the browser's own delays is left out but the screen's.
"""

import json
import shutil
import tempfile
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

from scripts.bench.clients.numbered_clip import number_in, sent_times, write_clip
from scripts.bench.figures.latency import Arrival, percentile
from scripts.bench.figures.run_record import RunRecord

SCRIPT = Path(__file__).with_suffix(".js")
COLUMNS = 200  # samples through the number
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PAGE_LIMIT_MS = 60_000
LEAST_FRAMES = 2
ARGUMENTS = (
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
)


def run_in_browser(
    url: str,
    size: tuple[int, int],
    seconds: float,
    patience: float,
    *,
    echo: bool = False,
    query: str = "",
) -> RunRecord:
    """One visit to the page at `url`: #start is pressed, then what #input and #output show is noted.

    `echo`: the page of servers/echo.py. `query`: of the page's address, as "transport=ws". Raises
    TimeoutError when it is not live within `patience` seconds, and ConnectionError when there is no browser
    to drive.
    """
    try:
        from playwright.sync_api import TimeoutError as NotInTime
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ConnectionError("--browser needs Playwright: pip install playwright") from error
    found = found_browser()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        clip = Path(folder) / "camera.mjpeg"
        write_clip(clip, *size)
        browser = playwright.chromium.launch(
            executable_path=found,
            headless=True,
            args=[*ARGUMENTS, f"--use-file-for-fake-video-capture={clip}"],
            timeout=PAGE_LIMIT_MS,
        )
        try:
            page = browser.new_context(permissions=["camera"]).new_page()
            page.set_default_timeout(PAGE_LIMIT_MS)
            page.goto(f"{url.rstrip('/')}/?{query}")
            page.evaluate(SCRIPT.read_text(encoding="utf-8"), COLUMNS)
            page.click("#start")
            try:
                live = page.locator("body[data-phase=live]")  # no expression: the page's policy forbids eval
                live.wait_for(state="attached", timeout=1000 * patience)
            except NotInTime as error:
                phase = page.evaluate("document.body.dataset.phase")
                raise TimeoutError(f"{url}: not live within {patience:g} s, but {phase}") from error
            page.wait_for_timeout(1000 * seconds)
            # As text: Playwright takes seconds to hand over thousands of numbers one by one.
            noted = page.evaluate(
                "() => { window.benched.stopped = true; return JSON.stringify(window.benched); }"
            )
            page.goto("about:blank")  # so that the page ends its session
        finally:
            browser.close()
    return recording_of(json.loads(noted), model=None if echo else _model(url))


def found_browser() -> str:
    """Where Chromium is. Raises ConnectionError where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise ConnectionError("no Chromium on the PATH: sudo apt-get install chromium")
    return found


def recording_of(seen: dict[str, Any], *, model: dict[str, Any] | None) -> RunRecord:
    """What browser.js noted, as a run. Times are on the page's own clock."""
    captured = [
        (_seconds(frame["shown"] if frame["captured"] is None else frame["captured"]), number)
        for frame in seen["input"]
        if (number := number_in(frame["row"])) is not None
    ]
    output = seen["output"]
    shown = [(_seconds(frame["shown"]), number_in(frame["row"])) for frame in output]
    arrivals = [
        Arrival(time=time, sent=sent, difference=None, is_live=frame["live"])
        for (time, _), sent, frame in zip(shown, sent_times(captured, shown), output, strict=True)
    ]
    counted = [
        (frame, arrival) for frame, arrival in zip(output, arrivals, strict=True) if arrival.is_generated
    ]
    return RunRecord(
        offered=_seconds(seen["began"]),
        arrivals=arrivals,
        model=model,
        sent=[(_seconds(at), size) for at, size in seen["sent"]],
        received=[(_seconds(at), size) for at, size in seen["received"]],
        page=_page_figures(counted),
    )


def _page_figures(counted: list[tuple[dict[str, Any], Arrival]]) -> dict[str, float | None]:
    """Where the time goes, as far as the page can tell, and how many frames it was given to show."""
    way = [
        (_seconds(frame["received"]) - arrival.sent, arrival.time - _seconds(frame["received"]))
        for frame, arrival in counted
        if frame["received"] is not None and arrival.sent is not None
    ]
    presented = None
    if len(counted) >= LEAST_FRAMES:
        (first, began), (last, ended) = counted[0], counted[-1]
        presented = (last["presented"] - first["presented"]) / (ended.time - began.time)
    return {
        "camera_to_received_p50_ms": 1000 * percentile([a for a, _ in way], 0.5) if way else None,
        "received_to_shown_p50_ms": 1000 * percentile([b for _, b in way], 0.5) if way else None,
        "presented_fps": presented,
        "frames_not_looked_at": float(
            sum(b["presented"] - a["presented"] - 1 for (a, _), (b, _) in pairwise(counted))
        ),
    }


def _seconds(milliseconds: float) -> float:
    return milliseconds / 1000


def _model(url: str) -> dict[str, Any] | None:
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/info", timeout=PAGE_LIMIT_MS / 1000) as response:
        return json.load(response).get("model")
