"""Faults of a client's side that end small: the stream goes on."""

import asyncio
import json
from itertools import pairwise

import pytest

from server.metrics import Metrics
from server.services import Services
from server.session.session import LiveSession
from server.webrtc.peer import MAX_NEEDLESS_CHANNELS
from tests.server import running_session
from tests.server.running import until
from tests.server.running_session import RunningSession


@pytest.mark.virtual_time
async def test_law_a_camera_may_change_its_rate_at_any_time(settings, worker, engine, monkeypatch):
    """Pictures come as fast as the camera's, up to the limit, and never older than the rate explains."""
    engine.step_seconds = 0.1
    monkeypatch.setattr(running_session, "CAMERA_FPS", 30)
    session = LiveSession("abc", Services(settings, worker, Metrics()))
    running = RunningSession(session)
    session.start()
    await running.live()
    pictures = running.pictures()
    for rate in (5, 60, 12, 120, 2, 30):
        monkeypatch.setattr(running_session, "CAMERA_FPS", rate)
        await asyncio.sleep(20.0)
        pictures.clear()
        await asyncio.sleep(20.0)
        now = asyncio.get_running_loop().time()
        assert len(pictures) >= 20.0 * min(rate, settings.max_fps) * 0.8, f"at {rate} frames a second"
        assert now - pictures[-1].captured < 2 + 12 / min(rate, 12)
        assert all(before.frame < after.frame for before, after in pairwise(pictures))
    assert not running.of("error")
    await running.close()


async def test_law_a_camera_that_ends_is_told_and_the_place_is_kept_for_a_while(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.camera.stop()
        viewer.messages.clear()
        await viewer.message("state", state="waiting", detail="waiting for pictures from the camera")
        assert (await server.json("/api/info"))["sessions"] == 1
        viewer.send({"type": "stats", "id": "1"})
        await viewer.message("stats", id="1")


async def test_law_a_control_channel_that_was_closed_may_be_opened_again(server):
    """The stream goes on without one, and takes commands by the next."""
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.control.close()
        await until(lambda: viewer.control.readyState == "closed", "it is closed")
        viewer.messages.clear()
        count = len(viewer.frames)
        viewer.control = viewer.pc.createDataChannel("control")
        viewer.control.on("message", lambda text: viewer.messages.append(json.loads(text)))
        await viewer.message("hello")
        viewer.send({"type": "prompt.set", "id": "1", "text": "gold"})
        await viewer.message("applied", id="1")
        await until(lambda: len(viewer.frames) > count + 30, "pictures")


async def test_law_who_opens_and_closes_channels_for_ever_is_closed(server):
    async with server.viewer() as viewer:
        await viewer.live()

        async def comes_to(state: str) -> bool:
            """False once the connection is closed instead."""
            pc = viewer.pc
            await until(lambda: viewer.control.readyState == state or pc.connectionState == "closed", state)
            return pc.connectionState != "closed"

        for _ in range(MAX_NEEDLESS_CHANNELS + 1):
            viewer.control.close()
            if not await comes_to("closed"):
                return
            viewer.control = viewer.pc.createDataChannel("control")
            if not await comes_to("open"):
                return
        await until(lambda: viewer.pc.connectionState == "closed", "the server closes it")
