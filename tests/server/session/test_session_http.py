"""A live session controlled over HTTP and WebSocket: real HTTP, real WebRTC, fake engine."""

import io
import json

import av
import numpy as np
import pytest
from PIL import Image

from server.media.snapshot import read_parameters
from server.settings import load_settings
from tests.server.fakes import HEIGHT, WIDTH
from tests.server.running import CAMERA_FPS, RunningServer, Viewer, running_server, until


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that chunks are short."""
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS})


def address(server: RunningServer, viewer: Viewer, what: str = "") -> str:
    return f"{server.url}/sessions/{viewer.location.rpartition('/')[2]}{what}"


async def command(server: RunningServer, viewer: Viewer, **message: object) -> tuple[int, dict]:
    async with server.http.post(address(server, viewer, "/commands"), json=message) as response:
        return response.status, await response.json()


async def test_a_command_over_http_changes_the_picture_and_everyone_is_told(server):
    async with server.viewer() as viewer:
        await viewer.live()
        status, body = await command(server, viewer, type="prompt.set", id="h1", text="molten gold")
        assert status == 200 and body["replies"][0] == {"type": "ack", "id": "h1"}
        await viewer.message("applied", id="h1")
        async with server.http.get(address(server, viewer)) as response:
            view = await response.json()
        assert view["state"] == "live" and view["settings"]["prompts"][0]["text"] == "molten gold"
        assert view["figures"]["shown_frames"] > 0
        status, body = await command(server, viewer, type="guidance.set", id="h2", scale=9)
        assert status == 400 and body["field"] == "scale"


async def test_a_socket_hears_what_the_data_channel_hears(server):
    async with server.viewer() as viewer:
        await viewer.live()
        async with server.http.ws_connect(address(server, viewer, "/ws")) as socket:
            kinds = [(await socket.receive_json(timeout=40))["type"] for _ in range(3)]
            assert sorted(kinds) == ["hello", "settings", "state"]
            await socket.send_json({"type": "prompt.set", "id": "w1", "text": "gold"})
            heard = []
            while not heard or heard[-1]["type"] != "applied":
                heard.append(await socket.receive_json(timeout=40))
        assert [m["type"] for m in heard if m.get("id") == "w1"] == ["ack", "applied"]
        await viewer.message("applied", id="w1")


async def test_a_snapshot_tells_how_the_picture_was_made(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await until(lambda: len(viewer.frames) > 20, "pictures")
        async with server.http.get(address(server, viewer, "/snapshot")) as response:
            assert response.status == 200, await response.text()
            image = Image.open(io.BytesIO(await response.read()))
        parameters = read_parameters(image.text)
        assert image.size == (WIDTH, HEIGHT)
        assert parameters.model == "fake" and [p.text for p in parameters.prompts] == ["clay"]
        assert np.asarray(image)[0, 0, 0] == parameters.frame % 256, "the picture and its number agree"


async def test_an_uploaded_picture_can_be_a_reference(server, engine):
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 100, 50)).save(picture, "WEBP", lossless=True)
    async with server.viewer() as viewer:
        await viewer.live()
        headers = {"Content-Type": "image/webp"}
        url = address(server, viewer, "/images")
        async with server.http.post(url, data=picture.getvalue(), headers=headers) as response:
            assert response.status == 201
            id = (await response.json())["id"]
        viewer.send({"type": "references.set", "id": "1", "images": [id]})
        await viewer.message("applied", id="1")
        references = [c.references for _, c in engine.steps if c.references is not None][-1]
        assert tuple(references[0][5, 5]) == (200, 100, 50)
        viewer.send({"type": "references.set", "id": "2", "images": ["unknown"]})
        assert (await viewer.message("error", id="2"))["field"] == "images[0]"


async def test_a_recording_is_what_was_shown_and_outlives_its_session(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "record.start", "id": "1", "side_by_side": True})
        await viewer.message("recording", state="recording")
        shown = len(viewer.frames)
        await until(lambda: len(viewer.frames) > shown + 40, "pictures")
        viewer.send({"type": "record.stop", "id": "2"})
        stopped = await viewer.message("recording", state="stopped")
        url = address(server, viewer, f"/recordings/{stopped['name']}")
        await viewer.delete()
    async with server.http.get(url) as response:
        assert response.status == 200
        file = await response.read()
    assert len(file) == stopped["bytes"]
    with av.open(io.BytesIO(file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        times = container.streams.video[0].duration * container.streams.video[0].time_base
    assert len(frames) >= 20 and frames[0].shape == (HEIGHT, 2 * WIDTH, 3)
    assert float(times) == pytest.approx(stopped["seconds"], abs=0.3)
    for frame in frames[5::7]:
        camera, blue = frame[:, : WIDTH - 8].mean(), frame[:, WIDTH + 8 :, 2].mean()
        assert abs(camera - blue) < 5, "beside a picture is what it was made from, whose mean is its blue"
    red = [float(frame[:, WIDTH + 8 :, 0].mean()) for frame in (frames[0], frames[-1])]
    assert (red[1] - red[0]) % 256 > len(frames) / 2, "the output, whose red counts frames, is on the right"


async def test_a_session_that_ends_while_recording_leaves_a_finished_file(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "record.start", "id": "1"})
        name = (await viewer.message("recording", state="recording"))["name"]
        shown = len(viewer.frames)
        await until(lambda: len(viewer.frames) > shown + 10, "pictures")
        url = address(server, viewer, f"/recordings/{name}")
        await viewer.delete()
    async with server.http.get(url) as response:
        assert response.status == 200
        with av.open(io.BytesIO(await response.read())) as container:
            assert len(list(container.decode(video=0))) > 5


async def test_another_site_may_embed_and_call_if_it_is_allowed(engine):
    settings = load_settings({"allowed_origins": ["https://stage.example"]})
    async with running_server(settings, engine) as server:
        headers = {"Origin": "https://stage.example"}
        async with server.http.get(server.url + "/api/info", headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://stage.example"
            policy = response.headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors 'self' https://stage.example")
        asks = headers | {"Access-Control-Request-Method": "POST"}
        async with server.http.options(server.url + "/whip", headers=asks) as response:
            assert response.status == 204


async def test_openapi_is_served(server):
    async with server.http.get(server.url + "/openapi.json") as response:
        assert response.content_type == "application/json"
        assert json.loads(await response.text())["openapi"].startswith("3.1")
