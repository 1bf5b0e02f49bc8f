"""A session whose pictures go through a WebSocket, over real HTTP with the fake engine."""

import aiohttp
import pytest

from server.engine.client import Phase
from server.media.coded_size import is_vp8_key
from server.settings import load_settings
from server.websocket.endpoint import FULL, GONE, NO_MODEL
from server.websocket.media_frame import MAX_MESSAGE_BYTES, Kind, MediaFrame
from tests.server.running import running_server, until
from tests.server.websocket.media_client import CAMERA_FPS, jpeg, media_client


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS, "max_sessions": 1})


def metric(text: str, name: str) -> float:
    return float(next((line.split()[-1] for line in text.splitlines() if line.startswith(f"{name} ")), 0))


async def metrics(server) -> str:
    async with server.http.get(server.url + "/metrics") as response:
        return await response.text()


async def dropped(server) -> float:
    """Pictures for a client that has no credit left."""
    return metric(await metrics(server), 'depthlive_dropped_frames_total{place="download"}')


async def test_jpegs_go_in_and_generated_pictures_come_back(server):
    async with media_client(server) as client:
        await client.live()
        await client.ask("prompt.set", "1", text="molten gold")
        applied = await client.message("applied", id="1")
        count = len(client.pictures)
        await until(lambda: len(client.pictures) > count + 30, "pictures")
        assert applied["frame"] > 0
        assert [p.sequence for p in client.pictures] == list(range(len(client.pictures)))
        times = [p.timestamp_us for p in client.pictures]
        assert times == sorted(set(times))
        green = client.colours()[-1][1]
        assert abs(green - len("molten gold")) <= 6, "the fake engine paints the length of the prompt"
        await client.message("telemetry", state="live")
        assert metric(await metrics(server), "depthlive_sessions") == 1
        assert (await server.json("/api/info"))["sessions"] == 1


async def test_who_leaves_ends_the_session(server, engine):
    async with media_client(server) as client:
        await client.live()
        id = (await client.message("hello"))["session"]
    await server.empty()
    await until(lambda: len(engine.streams) == 0, "the stream is freed")
    async with media_client(server, former=id) as client:
        assert await client.closed() == GONE


async def test_a_session_survives_the_loss_of_its_socket(server, engine):
    async with media_client(server) as client:
        await client.live()
        id = (await client.message("hello"))["session"]
        await client.ask("prompt.set", "1", text="molten gold")
        await client.message("applied", id="1")
        client.socket._response.connection.transport.abort()
        await server.empty()
    async with media_client(server, former=id) as client:
        hello = await client.message("hello")
        assert (hello["session"], hello["prompt"]) == (id, "molten gold")
        await until(lambda: len(client.pictures) > 20, "pictures")
    assert [count for count, _ in engine.steps].count(9) == 1, "the stream went on, it did not begin again"


async def test_a_peer_that_found_no_way_by_webrtc_takes_its_session_along(server):
    """With one place in all: the page must not wait for its own first try to be given up."""
    async with server.viewer() as viewer:
        id = viewer.location.rpartition("/")[2]
        async with media_client(server, former=id) as client:
            assert (await client.message("hello"))["session"] == id
            await client.live()


async def test_no_place_is_said_with_a_close_code(server):
    async with media_client(server) as first:
        await first.live()
        async with media_client(server) as second:
            assert await second.closed() == FULL
    assert 'depthlive_refused_offers_total{reason="full",status="4503"} 1.0' in await metrics(server)


async def test_no_model_is_said_with_a_close_code(settings, engine):
    engine.load_error = RuntimeError("no memory")
    async with running_server(settings, engine) as server:
        await until(lambda: server.worker.readiness.phase is Phase.FAILED, "the model fails")
        async with media_client(server) as client:
            assert await client.closed() == NO_MODEL


async def test_another_site_may_not_open_a_session(server):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with media_client(server, origin="https://elsewhere.example"):
            pass
    assert caught.value.status == 403


async def test_who_waits_in_line_comes_in_before_others(server):
    ticket = "?ticket=0123456789abcdef"
    async with media_client(server) as first:
        await first.live()
        async with media_client(server, query=ticket) as second:
            assert await second.closed() == FULL
    await server.empty()
    async with media_client(server, query="?ticket=fedcba9876543210") as third:
        assert await third.closed() == FULL
    async with media_client(server, query=ticket) as second:
        await second.live()


async def test_a_bad_ticket_is_refused(server):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with media_client(server, query="?ticket=x"):
            pass
    assert caught.value.status == 400


async def test_no_handshake_is_a_bad_request(server):
    async with server.http.get(server.url + "/ws") as response:
        assert response.status == 400
    await server.empty()


async def test_without_credit_no_picture_comes_and_the_newest_waits(server):
    """The law of the newest: who reads slowly sees fewer pictures, never older ones."""
    async with media_client(server) as client:
        await client.live()
        await client.spend_credit()
        count, began = len(client.pictures), await dropped(server)
        while await dropped(server) < began + 30:  # half a second of pictures at the camera's rate
            assert len(client.pictures) == count
        client.gives_credit = True
        await client._give_credit()
        await until(lambda: len(client.pictures) > count + 10, "pictures again")
        assert client.pictures[count].skipped > 5, "the drops are counted"
        gap = client.pictures[count].timestamp_us - client.pictures[count - 1].timestamp_us
        assert gap > 400_000, "what was missed is not shown late"


async def test_a_broken_jpeg_is_told_and_the_stream_goes_on(server):
    async with media_client(server) as client:
        await client.live()
        client.camera_runs = False
        for data in (b"\xff\xd8 no picture", jpeg(9, size=(4000, 2000))):
            await until(lambda: client.upload.may_send, "credit")
            await client.publish(data)
        error = await client.message("error", code="rejected")
        assert "camera frame" in error["message"]
        client.camera_runs = True
        count = len(client.pictures)
        await until(lambda: len(client.pictures) > count + 20, "pictures")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        MediaFrame(Kind.JPEG, 77, payload=b"x").encode(),
        MediaFrame(Kind.CREDIT, 2**32 - 1).encode(),
        bytes(MAX_MESSAGE_BYTES + 1),
    ],
    ids=["no header", "out of order", "credit without end", "too long"],
)
async def test_who_breaks_the_rules_is_closed_and_frees_the_place(server, message):
    async with media_client(server) as client:
        client.camera_runs = False
        id = (await client.message("hello"))["session"]
        await client.socket.send_bytes(message)
        code = await client.closed()
        assert code in (1008, 1009)
    await server.empty()
    if code == 1008:  # not for what a proxy may have done
        async with media_client(server, former=id) as client:
            assert await client.closed() == GONE


async def test_a_silent_peer_is_given_up(engine):
    settings = load_settings({"prompt": "clay", "peer_timeout": 0.5, "resume_seconds": 0})
    async with running_server(settings, engine) as server, media_client(server) as client:
        client.camera_runs = False
        await client.ask("ping", "1")
        assert await client.closed() == 1000
        await server.empty()


async def test_vp8_goes_both_ways_where_both_sides_want_it(server):
    async with media_client(server, takes_vp8=True) as client:
        await client.live()
        await until(lambda: len(client.shown) > 30, "pictures")
        kinds = {picture.kind for picture in client.pictures[client.pictures.index(vp8(client)[0]) :]}
        assert kinds == {Kind.VP8}
        assert [is_vp8_key(p.payload) for p in vp8(client)].count(True) <= 2, "each builds on the one before"
        reds = [frame.to_ndarray(format="rgb24")[..., 0].mean() for frame in client.shown[-20:]]
        assert len({round(red) for red in reds}) > 5, "they move"
        assert client.wants == [Kind.VP8], "the camera's pictures are decoded without a word"


async def test_a_client_that_wants_nothing_gets_jpegs(server):
    async with media_client(server) as client:
        await client.live()
        assert client.wants == [Kind.VP8]
        assert {picture.kind for picture in client.pictures} == {Kind.JPEG}


async def test_whoever_wants_vp8_once_more_gets_a_key_frame_and_jpegs_when_they_are_wanted(server):
    async with media_client(server, takes_vp8=True) as client:
        await client.live()
        await until(lambda: len(client.shown) > 10, "pictures")
        keys = sum(is_vp8_key(p.payload) for p in vp8(client))
        await client.want(Kind.VP8)
        await until(lambda: sum(is_vp8_key(p.payload) for p in vp8(client)) > keys, "a key frame")
        await client.want(Kind.JPEG)
        await until(lambda: client.pictures[-1].kind is Kind.JPEG, "a JPEG")


async def test_drops_for_want_of_credit_break_no_chain(server):
    """Dropped before they are coded: what comes afterwards decodes, without a key frame."""
    async with media_client(server, takes_vp8=True) as client:
        await client.live()
        await client.spend_credit()
        count, began = len(client.shown), await dropped(server)
        while await dropped(server) < began + 10:
            pass
        client.gives_credit = True
        await client._give_credit()
        await until(lambda: len(client.shown) > count + 10, "pictures again")
        after = [p for p in client.pictures if p.kind is Kind.VP8][count:]
        assert after[0].skipped > 5
        assert not any(is_vp8_key(picture.payload) for picture in after)


async def test_vp8_that_cannot_be_decoded_asks_for_a_key_frame_once(server):
    async with media_client(server, takes_vp8=True) as client:
        await client.live()
        client.camera_runs = False
        await until(lambda: client.upload.may_send, "credit")
        await client.publish(b"\x01 no picture", Kind.VP8)
        error = await client.message("error", code="rejected")
        assert "camera frame" in error["message"]
        await until(lambda: client.wants == [Kind.VP8, Kind.VP8], "a key frame is wanted")
        client.camera_runs, count = True, len(client.shown)
        await until(lambda: len(client.shown) > count + 20, "pictures")
        assert client.wants == [Kind.VP8, Kind.VP8]


def vp8(client) -> list[MediaFrame]:
    return [picture for picture in client.pictures if picture.kind is Kind.VP8]
