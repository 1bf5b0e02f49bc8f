"""A session's set-up over real HTTP: real WebRTC, fake engine."""

import json

import pytest

import server.http.setup_api
from server.protocol.setup import MAX_SETUP_BYTES
from server.session.command_queue import RateLimit
from server.settings import load_settings
from tests.server.running import CAMERA_FPS, RunningServer, Viewer, running_server, until

SETUP = {
    "version": 1,
    "prompt": {"prompts": [{"text": "gold", "weight": 2.0}, {"text": "ice", "weight": 1.0}]},
    "timeline": None,
    "latency": {"level": "lower"},
    "camera_start": {"follows_motion": True},
    "guidance": {"scale": 0.5, "adaptive": 0.25},
    "depth": {"enabled": True, "smoothing": 0.5, "refinement": 0.0, "points": []},
    "controls": {"gray": 0.5, "lines": 0.0},
    "region": {"distance": 0.5, "side": "far", "softness": 0.25},
    "seed": {"mode": "fixed", "seed": 7},
    "output": {"fps": 30.0, "quality": "low"},
}


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS})


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """The limit's time stands still."""

    class Limit(RateLimit):
        def allows(self, now: float) -> bool:
            return super().allows(0.0)

    monkeypatch.setattr(server.http.setup_api, "RateLimit", Limit)


def address(server: RunningServer, viewer: Viewer) -> str:
    return f"{server.url}/sessions/{viewer.location.rpartition('/')[2]}/setup"


async def saved(server: RunningServer, viewer: Viewer) -> dict:
    async with server.http.get(address(server, viewer)) as response:
        assert response.status == 200 and response.headers["Cache-Control"] == "private, no-store"
        return await response.json()


async def loaded(server: RunningServer, viewer: Viewer, setup: object) -> tuple[int, dict]:
    async with server.http.put(address(server, viewer), json=setup) as response:
        return response.status, await response.json()


async def test_what_is_loaded_is_acknowledged_applied_together_and_saved_again(server):
    async with server.viewer() as viewer:
        await viewer.live()
        assert (await saved(server, viewer))["prompt"] == {"prompts": [{"text": "clay", "weight": 1.0}]}
        status, body = await loaded(server, viewer, SETUP)
        assert status == 200 and {reply["type"] for reply in body["replies"]} == {"ack"}
        ids = [reply["id"] for reply in body["replies"]]
        assert len(ids) == len(SETUP) - 1 and all(id.startswith("setup-") for id in ids)
        applied = [await viewer.message("applied", id=id) for id in ids]
        assert len({one["chunk"] for one in applied if one["command"] != "output.set"}) == 1
        assert await saved(server, viewer) == SETUP
    async with server.viewer() as fresh:
        await fresh.live()
        _, body = await loaded(server, fresh, SETUP)
        await fresh.message("applied", id=body["replies"][0]["id"])
        assert await saved(server, fresh) == SETUP


async def test_one_error_refuses_all_of_it_and_all_errors_are_told(server):
    async with server.viewer() as viewer:
        await viewer.live()
        before = await saved(server, viewer)
        status, body = await loaded(server, viewer, SETUP | {"guidance": {"scale": 9}, "x": 1})
        assert status == 400
        assert [(error["field"], error["value"], error["code"]) for error in body["errors"]] == [
            ("guidance.scale", "9", "invalid"),
            ("x", "1", "invalid"),
        ]
        assert await saved(server, viewer) == before
        assert not viewer.received("applied")


async def test_what_the_model_refuses_is_refused_whole(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await until(lambda: len(viewer.frames) > 5, "pictures")
        before = await saved(server, viewer)
        refused = {"version": 1, "prompt": {"text": "reject"}, "guidance": {"scale": 0.5}}
        status, body = await loaded(server, viewer, refused)
        assert status == 200
        for reply in body["replies"]:
            assert (await viewer.message("error", id=reply["id"]))["code"] == "rejected"
        assert await saved(server, viewer) == before


async def test_it_is_bounded_by_size_type_and_rate(server):
    async with server.viewer() as viewer:
        url = address(server, viewer)
        async with server.http.put(url, data=b"{}", headers={"Content-Type": "text/plain"}) as response:
            assert (response.status, await response.text()) == (
                415,
                "expected Content-Type application/json, got text/plain",
            )
        headers = {"Content-Type": "application/json"}
        async with server.http.put(url, data=b" " * (MAX_SETUP_BYTES + 1), headers=headers) as response:
            assert response.status == 413
        assert (await loaded(server, viewer, {"version": 1}))[0] == 200
        async with server.http.put(url, json=SETUP) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
            assert await response.text() == "expected at most 2 a second"


async def test_a_session_that_is_not_there_has_none(server):
    for ask in (server.http.get, server.http.put):
        options = {"json": {"version": 1}} if ask == server.http.put else {}
        async with ask(f"{server.url}/sessions/none/setup", **options) as response:
            assert (response.status, await response.text()) == (404, "no such session; it may have ended")


async def test_every_new_session_begins_with_the_preset_file(engine, tmp_path):
    file = tmp_path / "preset.json"
    file.write_text(json.dumps(SETUP))
    settings = load_settings({"prompt": "clay", "max_fps": CAMERA_FPS, "preset_file": file})
    async with running_server(settings, engine) as server:
        info = await server.json("/api/info")
        assert info["default_prompt"] == "gold" and info["defaults"]["latency"] == "lower"
        assert info["defaults"]["output"] == {"fps": 30.0, "quality": "low"}
        assert info["defaults"]["guidance"]["scale"] == 0.5
        for _ in range(2):
            async with server.viewer() as viewer:
                hello = await viewer.message("hello")
                assert (hello["prompt"], hello["guidance_scale"]) == ("gold", 0.5)
                await viewer.live()
                assert await saved(server, viewer) == SETUP
                asked = next(c for _, c in engine.steps if c.prompts is not None)
                assert asked.prompts == (("gold", 2.0), ("ice", 1.0)) and asked.guidance_scale == 0.5
                assert not viewer.received("error") and not viewer.received("applied")
                engine.steps.clear()
