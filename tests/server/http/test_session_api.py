"""The routes of a session over real HTTP, in front of a session that only notes what it is asked."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from PIL import Image

import server.http.session_api
from server.access.guard import Guard
from server.http.session_api import SessionApi
from server.media.images import MAX_IMAGE_BYTES, ImageStore
from server.media.recording_store import RecordingStore
from server.media.snapshot import SnapshotParameters, read_parameters
from server.protocol.codec import MAX_MESSAGE_BYTES, ProtocolError, decode
from server.protocol.http_models import SessionFigures, SessionView
from server.protocol.replies import (
    Ack,
    CameraStartState,
    ControlsState,
    DepthState,
    Dropped,
    ErrorReply,
    GuidanceState,
    Latency,
    OutputState,
    SeedState,
    ServerMessage,
    SessionSettings,
    ShapeState,
)
from server.protocol.requests import WeightedPrompt
from server.session.channel import TooManyClients
from server.session.command_queue import RateLimit
from server.settings import load_settings
from server.websocket.socket_writer import UNREAD_MESSAGES
from tests.server.running import PATIENCE_S, until

VIEW = SessionView(
    id="abc",
    state="live",
    detail="live",
    settings=SessionSettings(
        prompts=(WeightedPrompt(text="clay"),),
        transition=None,
        guidance=GuidanceState(scale=1.0, adaptive=0.0, keyframes=None, loop=False),
        depth=DepthState(enabled=True, smoothing=0.0, refinement=0.0, points=()),
        controls=ControlsState(gray=0.0, lines=0.0),
        references=(),
        mask=None,
        region=None,
        camera_start=CameraStartState(noise_scale=1.0, follows_motion=False),
        steps=None,
        latency="standard",
        shape=ShapeState(orientation="wide", fit="fill", width=None, height=None),
        seed=SeedState(mode="fixed", seed=3, current=3),
        frozen=False,
        paused=False,
        recording=False,
        timeline=None,
        output=OutputState(fps=None, quality="high"),
    ),
    figures=SessionFigures(
        fps=12.0,
        chunk=3,
        latency_ms=Latency(),
        dropped=Dropped(),
        state="live",
        camera_frames=9,
        shown_frames=9,
        chunks=4,
        uptime_s=2.0,
    ),
)


class Session:
    """Answers as a session does, and can be told to be slow to answer, full, or without a picture."""

    def __init__(self) -> None:
        self.images = ImageStore()
        self.listeners: list[Callable[[str], None]] = []
        self.heard: list[str | bytes] = []
        self.is_full = False
        self.shown: tuple[np.ndarray, SnapshotParameters] | None = None

    def view(self) -> SessionView:
        return VIEW

    def ask(self, raw: str | bytes) -> list[ServerMessage]:
        self.heard.append(raw)
        try:
            message = decode(raw)
        except ProtocolError as error:
            return [ErrorReply(id=error.id, code="invalid", field=error.field, message=str(error))]
        if message.id == "rate":
            return [ErrorReply(id=message.id, code="rate", message="too many")]
        return [Ack(id=message.id)]

    def receive(
        self, raw: str | bytes, send: Callable[[str], None] | None = None, *, limit: object = None
    ) -> None:
        assert send is not None
        for reply in self.ask(raw):
            send(reply.model_dump_json())

    def join(self, send: Callable[[str], None]) -> Callable[[], None]:
        if self.is_full:
            raise TooManyClients("8 clients listen to this session already")
        self.listeners.append(send)
        send('{"type": "hello"}')
        return lambda: self.listeners.remove(send)

    def snapshot(self) -> tuple[np.ndarray, SnapshotParameters] | None:
        return self.shown


class Client:
    """Asks one session of a server that has nothing else."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url

    async def post(self, what: str, data: object, **headers: str) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"} | headers
        async with self.http.post(self.url + what, data=data, headers=headers) as response:
            return response.status, await response.text()

    async def get(self, what: str = "") -> tuple[int, bytes, aiohttp.ClientResponse]:
        async with self.http.get(self.url + what) as response:
            return response.status, await response.read(), response

    async def upload(self, data: object, type: str = "image/png") -> tuple[int, str]:
        return await self.post("/images", data, **{"Content-Type": type})

    def ws(self, **options: object):
        return self.http.ws_connect(self.url + "/ws", **options)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
async def recordings() -> AsyncIterator[RecordingStore]:
    recordings = RecordingStore(load_settings({}))
    yield recordings
    await recordings.close()


@pytest.fixture
def sessions(session) -> dict[str, Session]:
    return {"abc": session}


@pytest.fixture
async def client(sessions, recordings) -> AsyncIterator[Client]:
    async with serving(
        SessionApi(
            sessions.get,
            recordings,
        )
    ) as client:
        yield client


@dataclass
class Clock:
    seconds: float = 0.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The limits' time: however slow the machine is, it stands still between two requests."""
    clock = Clock()

    class Limit(RateLimit):
        def allows(self, now: float) -> bool:
            return super().allows(clock.seconds)

    monkeypatch.setattr(server.http.session_api, "RateLimit", Limit)
    return clock


@asynccontextmanager
async def serving(api: SessionApi) -> AsyncIterator[Client]:
    app = web.Application(client_max_size=64 * 1024, middlewares=[Guard(load_settings({}), None).check])
    app.add_routes(api.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as http:
            yield Client(http, f"http://127.0.0.1:{runner.addresses[0][1]}/sessions/abc")
    finally:
        await runner.cleanup()


def png(width: int = 64, height: int = 48) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (10, 20, 30)).save(out, "PNG")
    return out.getvalue()


# Commands and state.


async def test_a_command_gets_its_answers(client, session):
    command = {"type": "prompt.set", "id": "7", "text": "gold"}
    status, body = await client.post("/commands", json.dumps(command))
    assert (status, json.loads(body)) == (200, {"replies": [{"type": "ack", "id": "7"}]})
    assert json.loads(session.heard[0]) == command


async def test_a_bad_command_gets_the_error_message(client):
    status, body = await client.post("/commands", '{"type": "guidance.set", "id": "8", "scale": 9}')
    error = json.loads(body)
    assert status == 400
    assert (error["type"], error["id"], error["code"], error["field"]) == ("error", "8", "invalid", "scale")
    assert (await client.post("/commands", b"\xff\xfe not json"))[0] == 400


async def test_too_many_commands_are_told_to_wait(client):
    async with client.http.post(client.url + "/commands", json={"type": "ping", "id": "rate"}) as response:
        assert response.status == 429 and response.headers["Retry-After"] == "1"
        assert (await response.json())["code"] == "rate"


async def test_a_body_has_a_limit_whether_its_length_is_told_or_not(client, session):
    async def unending() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    assert (await client.post("/commands", b" " * MAX_MESSAGE_BYTES))[0] == 400, "all of it is read"
    session.heard.clear()
    assert (await client.post("/commands", b" " * (MAX_MESSAGE_BYTES + 1)))[0] == 413
    assert (await client.post("/commands", unending()))[0] == 413
    assert session.heard == []


async def test_a_body_that_does_not_come_is_given_up(client, monkeypatch):
    is_refused = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await is_refused.wait()

    monkeypatch.setattr(server.http.session_api, "BODY_TIMEOUT_S", 0.1)
    status, words = await asyncio.wait_for(client.post("/commands", slow()), PATIENCE_S)
    assert (status, words) == (408, "the body did not come within 0.1 s")
    is_refused.set()


async def test_a_session_tells_how_it_stands(client):
    status, body, response = await client.get()
    assert status == 200 and SessionView.model_validate_json(body) == VIEW
    assert "no-store" in response.headers["Cache-Control"]


async def test_a_session_that_is_not_there_is_404_everywhere(client, sessions):
    sessions.clear()
    for what in ("", "/ws", "/snapshot", "/recordings/x.mp4"):
        assert (await client.get(what))[0] == 404
    assert (await client.post("/commands", "{}"))[0] == 404
    assert (await client.upload(png()))[0] == 404


# Pictures.


async def test_a_picture_is_kept_under_the_id_that_comes_back(client, session):
    status, body = await client.upload(png())
    uploaded = json.loads(body)
    assert status == 201 and (uploaded["width"], uploaded["height"]) == (64, 48)
    kept = session.images.get(uploaded["id"])
    assert kept is not None and tuple(kept[0, 0]) == (10, 20, 30)


async def test_what_is_no_picture_is_refused(client, session):
    assert (await client.upload(b"<svg/>", "image/svg+xml"))[0] == 415
    status, reason = await client.upload(b"\x89PNG nonsense")
    assert status == 400 and "can be read" in reason
    assert len(session.images) == 0


async def test_a_picture_of_too_many_bytes_is_refused(client):
    assert (await client.upload(io.BytesIO(bytes(MAX_IMAGE_BYTES + 1))))[0] == 413


async def test_uploads_have_a_rate(client, clock):
    upload_statuses = [(await client.upload(png()))[0] for _ in range(3)]
    assert upload_statuses == [201, 201, 429]
    clock.seconds += 0.5
    assert [(await client.upload(png()))[0] for _ in range(2)] == [201, 429]
    assert (await client.get("/snapshot"))[0] == 409, "what limits one thing does not limit another"


async def test_who_asks_too_often_is_told_when_to_come_again(client, clock):
    headers = {"Content-Type": "image/png"}
    for method, what, most in (("POST", "/images", 2), ("GET", "/snapshot", 4)):
        data = png() if method == "POST" else None
        for _ in range(most + 1):
            async with client.http.request(method, client.url + what, data=data, headers=headers) as response:
                words = await response.text()
        assert (response.status, words) == (429, f"expected at most {most} a second")
        assert response.headers["Retry-After"] == "1"


async def test_no_cache_keeps_what_is_said_of_a_session(client, session):
    async with client.http.post(client.url + "/commands", json={"type": "stats", "id": "1"}) as response:
        assert response.headers["Cache-Control"] == "private, no-store"
    headers = {"Content-Type": "image/png"}
    async with client.http.post(client.url + "/images", data=png(), headers=headers) as response:
        assert (response.status, response.headers["Cache-Control"]) == (201, "private, no-store")


async def test_one_sessions_uploads_and_snapshots_do_not_starve_anothers(client, sessions, clock):
    sessions["other"] = Session()
    other = Client(client.http, client.url.replace("abc", "other"))
    for asked in (lambda of: of.upload(png()), lambda of: of.get("/snapshot")):
        while (await asked(client))[0] != 429:
            pass
        assert (await asked(other))[0] in (201, 409)


# Snapshots and recordings.


async def test_a_snapshot_is_a_png_with_its_parameters(client, session, clock):
    assert (await client.get("/snapshot"))[0] == 409
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    parameters = SnapshotParameters(
        model="embedded",
        prompts=(WeightedPrompt(text="gold"),),
        seed=3,
        chunk=1,
        frame=17,
        guidance_scale=1.0,
        controls=ControlsState(gray=1.0, lines=0.0),
        noise_scale=0.5,
        steps=4,
        time=datetime.now(UTC),
    )
    session.shown = (rgb, parameters)
    status, body, response = await client.get("/snapshot")
    assert status == 200 and response.content_type == "image/png"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="depthlive-')
    assert response.headers["Cache-Control"] == "private, no-store"
    image = Image.open(io.BytesIO(body))
    assert np.array_equal(np.asarray(image), rgb) and read_parameters(image.text) == parameters
    clock.seconds += 1
    assert [(await client.get("/snapshot"))[0] for _ in range(5)] == [200] * 4 + [429]
    clock.seconds += 0.25
    assert [(await client.get("/snapshot"))[0] for _ in range(2)] == [200, 429]


async def test_a_recording_can_be_fetched_whole_and_in_part_after_its_session(client, recordings, sessions):
    recording = recordings.start("abc", side_by_side=False, on_change=lambda news: None)
    recording.offer(np.zeros((48, 64, 3), np.uint8), 0, 1.0, None)
    assert (await client.get(f"/recordings/{recording.name}"))[0] == 404, "not while it runs"
    recording.stop(1.0)
    sessions.clear()
    status, body, response = await client.get(f"/recordings/{recording.name}")
    assert status == 200 and body == recording.path.read_bytes()
    assert response.content_type == "video/mp4" and recording.name in response.headers["Content-Disposition"]
    part = {"Range": "bytes=4-7"}
    async with client.http.get(f"{client.url}/recordings/{recording.name}", headers=part) as response:
        assert response.status == 206 and await response.read() == b"ftyp"
    assert (await client.get("/recordings/1.mp4"))[0] == 404
    assert (await client.get("/recordings/%2e%2e%2f1.mp4"))[0] == 404


# The WebSocket.


async def test_a_socket_is_greeted_and_speaks_the_protocol(client, session):
    async with client.ws() as socket:
        assert await socket.receive_json(timeout=40) == {"type": "hello"}
        await socket.send_str('{"type": "reset", "id": "1"}')
        assert await socket.receive_json(timeout=40) == {"type": "ack", "id": "1"}
        await socket.send_str("nonsense")
        assert (await socket.receive_json(timeout=40))["code"] == "invalid"
        await socket.send_bytes(b'{"type": "reset", "id": "2"}')
        assert await socket.receive_json(timeout=40) == {"type": "ack", "id": "2"}, "bytes are JSON too"
        session.listeners[0]('{"type": "state"}')
        assert await socket.receive_json(timeout=40) == {"type": "state"}
    await until(lambda: not session.listeners, "the socket has left")


async def test_the_end_of_the_session_closes_the_socket(client, session, sessions):
    async with client.ws() as socket:
        await socket.receive_json(timeout=40)
        sessions.clear()
        message = await socket.receive(timeout=40)
        assert message.type is aiohttp.WSMsgType.CLOSE and message.extra == "the session has ended"
    await until(lambda: not session.listeners, "the socket has left")


async def test_a_client_that_does_not_read_is_given_up(client, session):
    async with client.ws() as socket:
        await until(lambda: bool(session.listeners), "it has joined")
        for _ in range(UNREAD_MESSAGES + 1):
            session.listeners[0]("x" * 100)
        await until(lambda: not session.listeners, "it has been given up")
        while (message := await socket.receive(timeout=40)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_message_that_is_too_long_closes_the_socket(client, session):
    async with client.ws() as socket:
        await socket.receive_json(timeout=40)
        await socket.send_str("x" * (MAX_MESSAGE_BYTES + 1))
        assert (await socket.receive(timeout=40)).data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    assert session.heard == []


async def test_too_many_sockets_are_refused(client, session):
    session.is_full = True
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws()
    assert refused.value.status == 503
