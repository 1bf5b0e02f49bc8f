"""A session whose peer was lost waits for it; one that is dismissed does not. Over real HTTP and WebRTC."""

import asyncio
import io

import av
import pytest
from PIL import Image

from server.metrics import Metrics
from server.placement.port import NoPlace
from server.services import Services
from server.session.session import LiveSession
from server.settings import load_settings
from server.transport.peer_registry import PeerRegistry, SessionGone
from tests.server.running import CAMERA_FPS, PATIENCE_S, RunningServer, Viewer, running_server, until


@pytest.fixture
def settings():
    """As many frames a second as the test's camera makes, so that chunks are short."""
    return load_settings({"prompt": "clay", "max_fps": CAMERA_FPS, "max_sessions": 2})


def id_of(viewer: Viewer) -> str:
    return viewer.location.rpartition("/")[2]


async def lost(server: RunningServer) -> tuple[str, Viewer]:
    """The id of a session that was live and whose peer is gone; and that peer."""
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "id": "1", "text": "molten gold"})
        await viewer.message("applied", id="1")
    await server.empty()
    return id_of(viewer), viewer


async def test_who_was_lost_goes_on_where_the_session_was(server, engine):
    id, _ = await lost(server)
    assert len(engine.streams) == 1
    async with server.viewer(former=id) as viewer:
        assert id_of(viewer) == id
        await viewer.live()
        assert (await viewer.message("hello"))["prompt"] == "molten gold"
        chunks = [count for count, _ in engine.steps]
        assert chunks.count(9) == 1, "the stream went on, it did not begin again"
        viewer.send({"type": "prompt.set", "id": "2", "text": "clay"})
        await viewer.message("applied", id="2")
        assert await viewer.delete() == 200
    await until(lambda: len(engine.streams) == 0, "the stream is freed")


async def test_a_pause_before_the_first_new_picture_holds_the_one_that_was_on_show(server, engine):
    """A page sends again what the lost connection swallowed: it may well be there before any picture is."""
    id, _ = await lost(server)
    engine.may_ask.clear()
    async with server.viewer(former=id) as viewer:
        await viewer.message("state", state="waiting")  # it has shown nothing since the loss
        viewer.send({"type": "pause", "id": "2"})
        await viewer.message("ack", id="2")
        assert viewer.received("state")[-1]["state"] == "live", "it waits for nothing: a picture is held"
        viewer.frames.clear()
        await until(lambda: any(is_held(frame) for frame in viewer.frames), "the picture, without a note")
        engine.may_ask.set()
        await viewer.message("applied", id="2")
        assert (await server.json(f"/sessions/{id}"))["state"] == "live"
        viewer.send({"type": "resume", "id": "3"})
        await viewer.message("applied", id="3")


def is_held(frame: av.VideoFrame) -> bool:
    """Flat, as the fake engine paints; the camera's carries words."""
    return frame.to_ndarray(format="rgb24").astype(int).std(axis=(0, 1)).max() < 3


async def test_references_and_their_pictures_are_kept(server):
    png = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(png, "PNG")
    async with server.viewer() as viewer:
        await viewer.live()
        url = f"{server.url}/sessions/{id_of(viewer)}/images"
        headers = {"Content-Type": "image/png"}
        async with server.http.post(url, data=png.getvalue(), headers=headers) as response:
            image = (await response.json())["id"]
        viewer.send({"type": "references.set", "id": "1", "images": [image]})
        await viewer.message("applied", id="1")
    await server.empty()
    async with server.viewer(former=id_of(viewer)) as again:
        assert (await again.message("settings"))["references"] == [image]
        again.send({"type": "mask.set", "id": "2", "image": image})
        await again.message("applied", id="2")


async def test_a_recording_continues_through_a_reconnect(server):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "record.start", "id": "1"})
        name = (await viewer.message("recording", state="recording"))["name"]
        shown = len(viewer.frames)
        await until(lambda: len(viewer.frames) > shown + 20, "pictures")
    await server.empty()
    async with server.viewer(former=id_of(viewer)) as again:
        assert (await again.message("settings"))["recording"] is True
        await again.live()
        shown = len(again.frames)
        await until(lambda: len(again.frames) > shown + 20, "pictures")
        again.send({"type": "record.stop", "id": "1b"})
        stopped = await again.message("recording", state="stopped")
        assert stopped["name"] == name
        async with server.http.get(f"{server.url}/sessions/{id_of(again)}/recordings/{name}") as response:
            file = await response.read()
    with av.open(io.BytesIO(file)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert len(times) > 30 and times == sorted(set(times))
    assert times[-1] == pytest.approx(stopped["seconds"], abs=0.1)


async def test_a_peer_that_is_not_known_to_be_lost_yet_is_replaced(server):
    async with server.viewer() as first:
        await first.live()
        async with server.viewer(former=id_of(first)) as second:
            await second.live()
            assert (await server.json("/api/info"))["sessions"] == 1
            await until(lambda: first.pc.connectionState == "closed", "the old connection is closed")


async def test_a_session_that_was_dismissed_is_gone(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await viewer.delete()
    await refused(server, id_of(viewer), 404)


async def test_a_lost_session_can_be_ended_by_its_id(server, engine):
    id, viewer = await lost(server)
    assert await viewer.delete() == 200
    await until(lambda: len(engine.streams) == 0, "the stream is freed")
    await refused(server, id, 404)


async def test_a_lost_session_ends_when_its_time_is_up(engine):
    settings = load_settings({"max_fps": CAMERA_FPS, "resume_seconds": 0.3})
    async with running_server(settings, engine) as server:
        id, _ = await lost(server)
        await until(lambda: len(engine.streams) == 0, "the stream is freed")
        await refused(server, id, 404)


async def test_nothing_is_kept_if_that_is_the_setting(engine):
    async with running_server(load_settings({"max_fps": CAMERA_FPS, "resume_seconds": 0}), engine) as server:
        id, _ = await lost(server)
        await refused(server, id, 404)


async def test_a_lost_session_gives_its_place_to_newcomers(server, engine):
    oldest, _ = await lost(server)
    newer, _ = await lost(server)
    async with server.viewer() as viewer:
        await viewer.live()
        await refused(server, oldest, 404)
        async with server.viewer(former=newer) as again:
            await again.live()
            assert len(engine.streams) == 2
            response = await viewer.post(viewer.pc.localDescription.sdp)
            assert response.status == 503, "never more sessions than places"


async def test_a_bad_offer_does_not_harm_the_session_it_wants(server):
    async with server.viewer() as viewer:
        await viewer.live()
        await refused(server, id_of(viewer), 400)
        viewer.frames.clear()
        await until(lambda: len(viewer.frames) > 12, "frames go on")
    await refused(server, id_of(viewer), 400)
    async with server.viewer(former=id_of(viewer)) as again:
        await again.live()


async def test_a_lost_session_can_still_be_asked(server, engine):
    id, _ = await lost(server)
    async with server.http.get(f"{server.url}/sessions/{id}/snapshot") as response:
        assert response.status == 200
    assert len(engine.streams) == 1


class SlowPeer:
    """Holds a place until it is hung up, and takes until `may_close` to leave."""

    def __init__(self, session: LiveSession, may_close: asyncio.Event) -> None:
        self.session, self.may_return, self.is_connected = session, True, True
        self.is_closing, self.may_close = asyncio.Event(), may_close
        self._hung_up = asyncio.Event()

    async def begin(self) -> None:
        pass

    async def attend(self) -> None:
        await self._hung_up.wait()

    def hang_up(self, reason: str, *, may_return: bool | None = None) -> None:
        if may_return is not None:
            self.may_return = may_return
        self._hung_up.set()

    async def close(self, *, keeps_session: bool = False) -> None:
        self.is_closing.set()
        await self.may_close.wait()
        if not keeps_session:
            await self.session.close()


def at_once() -> asyncio.Event:
    """May close."""
    event = asyncio.Event()
    event.set()
    return event


async def left(peers: PeerRegistry, peer: SlowPeer, *, may_return: bool = True) -> None:
    peer.hang_up("a loss", may_return=may_return)
    await until(lambda: peer.session.id not in peers._peers.keys(), "it has left")


def timers() -> int:
    """Of sessions that are kept."""
    return sum(task.get_coro().__qualname__ == "PeerRegistry._end_later" for task in asyncio.all_tasks())


@pytest.fixture
async def peers(settings, worker):
    kept_long = settings.model_copy(update={"resume_seconds": 1000.0})
    peers = PeerRegistry(Services(kept_long, worker, Metrics()))
    yield peers
    await peers.dismiss_all()


async def test_who_comes_in_waits_no_more(peers):
    first, second, ticket = "f" * 16, "s" * 16, at_once()
    here = [await peers.add(lambda session: SlowPeer(session, ticket)) for _ in range(2)]
    for name, position in ((first, 1), (second, 2), (first, 1)):
        with pytest.raises(NoPlace, match=f"number {position} of") as full:
            await peers.add(lambda session: SlowPeer(session, ticket), ticket=name)
        assert full.value.position == position
    with pytest.raises(NoPlace, match="and 2 wait; try again later") as full:
        await peers.add(lambda session: SlowPeer(session, ticket))
    assert full.value.position is None
    await left(peers, here[0], may_return=False)
    here[0] = await peers.add(lambda session: SlowPeer(session, ticket), ticket=first)
    assert peers.leave_queue(first) is False, "it has come in"
    with pytest.raises(NoPlace, match="number 1 of 1"):
        await peers.add(lambda session: SlowPeer(session, ticket), ticket=second)
    assert peers.leave_queue(second) is True
    with pytest.raises(NoPlace, match="taken; try again soon"):
        await peers.add(lambda session: SlowPeer(session, ticket))


async def test_law_an_address_holds_no_more_places_than_its_share(settings, worker):
    settings = settings.model_copy(update={"max_sessions": 5, "min_fps": 0.0, "max_sessions_per_address": 2})
    peers = PeerRegistry(Services(settings, worker, Metrics()))
    for address in ("2001:db8::1", "2001:db8::2"):
        await peers.add(lambda session: SlowPeer(session, at_once()), address=address)
    with pytest.raises(NoPlace, match="your address holds 2 places"):
        await peers.add(lambda session: SlowPeer(session, at_once()), address="2001:db8::3")
    other = await peers.add(lambda session: SlowPeer(session, at_once()), address="2001:db8:0:1::1")
    await left(peers, other)
    await peers.add(lambda session: SlowPeer(session, at_once()), address="2001:db8:0:1::1")
    await peers.dismiss_all()


async def test_law_an_address_holds_few_places_with_offers_that_do_not_connect(settings, worker):
    settings = settings.model_copy(
        update={"max_sessions": 5, "min_fps": 0.0, "max_connecting_per_address": 2}
    )
    peers = PeerRegistry(Services(settings, worker, Metrics()))
    offers = [await peers.add(lambda session: SlowPeer(session, at_once()), address="a") for _ in range(2)]
    for offer in offers:
        offer.is_connected = False
    with pytest.raises(NoPlace, match="2 offers of your address have not connected yet"):
        await peers.add(lambda session: SlowPeer(session, at_once()), address="a")
    await peers.add(lambda session: SlowPeer(session, at_once()), address="b")
    offers[0].is_connected = True
    await peers.add(lambda session: SlowPeer(session, at_once()), address="a")
    await peers.dismiss_all()


async def test_law_who_never_used_its_place_comes_after_those_in_line(peers):
    greedy, honest = "g" * 16, "h" * 16
    here = [await peers.add(lambda session: SlowPeer(session, at_once()), address="g") for _ in range(2)]
    for ticket, address in ((greedy, "g"), (honest, "h")):
        with pytest.raises(NoPlace):
            await peers.add(lambda session: SlowPeer(session, at_once()), ticket=ticket, address=address)
    await left(peers, here[0], may_return=False)
    with pytest.raises(NoPlace, match="number 2 of 2"):
        await peers.add(lambda session: SlowPeer(session, at_once()), ticket=greedy, address="g")
    await peers.add(lambda session: SlowPeer(session, at_once()), ticket=honest, address="h")


@pytest.mark.parametrize("way", ["WebSocket", "offer"])
async def test_law_a_place_that_is_held_for_nothing_is_given_back(engine, way):
    limit = {"WebSocket": {"camera_seconds": 0.6}, "offer": {"camera_seconds": 0, "peer_timeout": 0.6}}[way]
    settings = load_settings({"max_sessions": 1, **limit})
    async with running_server(settings, engine) as server:
        if way == "WebSocket":
            async with server.http.ws_connect(f"{server.url}/ws") as socket:
                async with asyncio.timeout(PATIENCE_S):
                    async for _ in socket:
                        pass  # it answers pings, and sends nothing
                assert socket.close_code == 1000
        else:
            idle = Viewer(server.url, server.http)
            assert (await idle.post(await idle.offer())).status == 201
            await server.empty()
            await idle.close()
        async with server.viewer() as viewer:
            await viewer.live()


async def test_law_who_shows_no_camera_by_webrtc_gives_the_place_back_for_good(engine):
    settings = load_settings({"max_sessions": 1, "camera_seconds": 2.0})
    async with running_server(settings, engine) as server, server.viewer() as viewer:
        await viewer.live()
        viewer.camera.stop()
        await server.empty()
        again = await viewer.post(viewer.pc.localDescription.sdp, session=id_of(viewer))
        assert again.status == 404


async def test_a_session_is_found_while_its_peer_is_here_and_while_it_is_kept(peers):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    id = peer.session.id
    assert peers.find(id) is peer.session and peers.peer(id) is peer and len(peers) == 1
    await left(peers, peer)
    assert peers.find(id) is peer.session and peers.peer(id) is None and len(peers) == 0
    assert peers.find("another") is None and peers.peer("another") is None


async def test_the_end_of_the_server_waits_for_a_session_whose_time_was_up_just_now(settings, worker):
    short = settings.model_copy(update={"resume_seconds": 0.01})
    peers = PeerRegistry(Services(short, worker, Metrics()))
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    close, is_closing, may_close = peer.session.close, asyncio.Event(), asyncio.Event()

    async def slow_close() -> None:
        is_closing.set()
        await may_close.wait()
        await close()

    peer.session.close = slow_close
    await left(peers, peer)
    await asyncio.wait_for(is_closing.wait(), PATIENCE_S)
    leaving = asyncio.create_task(peers.dismiss_all())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not leaving.done()
    may_close.set()
    await asyncio.wait_for(leaving, PATIENCE_S)
    assert peers._ends == {} and peers._kept == {}


async def test_each_loss_is_kept_for_the_whole_time(peers):
    """The timer of the loss before goes when the session is taken up: it would end the next one early."""
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    for _ in range(3):
        await left(peers, peer)
        assert peers.find(peer.session.id) is peer.session and timers() == 1
        peer = await peers.add(lambda session: SlowPeer(session, at_once()), former=peer.session.id)
        await asyncio.sleep(0)
        assert timers() == 0 and len(peers) == 1


async def test_a_heartbeat_of_the_former_peer_is_not_expected_of_the_next(peers):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    channels, long_after = peer.session.channels, asyncio.get_running_loop().time() + 1e6
    peer.session.receive('{"type": "ping", "id": "1"}', lambda text: None, is_peer=True)
    assert channels.is_lost(long_after)
    await left(peers, peer)
    await peers.add(lambda session: SlowPeer(session, at_once()), former=peer.session.id)
    assert not channels.is_lost(long_after)


async def test_who_takes_a_session_up_has_promised_no_heartbeat_yet(peers):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    long_after = asyncio.get_running_loop().time() + 1e6
    peer.session.receive('{"type": "ping", "id": "1"}', lambda text: None, is_peer=True)
    assert peer.session.channels.is_lost(long_after)
    await left(peers, peer)
    await peers.add(lambda session: SlowPeer(session, at_once()), former=peer.session.id)
    assert not peer.session.channels.is_lost(long_after)


async def test_a_session_that_failed_is_not_kept(peers, engine):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    peer.session._fail("out of memory")
    await left(peers, peer)
    assert peers.find(peer.session.id) is None and timers() == 0
    with pytest.raises(SessionGone, match="begin a new one"):
        await peers.add(lambda session: SlowPeer(session, at_once()), former=peer.session.id)


async def test_who_may_not_return_takes_the_session_along(peers, engine):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    await until(lambda: len(engine.streams) == 1, "it has a stream")
    await left(peers, peer, may_return=False)
    assert peers.find(peer.session.id) is None
    await until(lambda: len(engine.streams) == 0, "the stream is freed")


async def test_kept_sessions_are_closed_with_the_server(peers, engine):
    all_peers = [await peers.add(lambda session: SlowPeer(session, at_once())) for _ in range(2)]
    await until(lambda: len(engine.streams) == 2, "each has a stream")
    for peer in all_peers:
        await left(peers, peer)
    assert timers() == 2 and len(peers) == 0
    await peers.dismiss_all()
    await asyncio.sleep(0)
    assert timers() == 0
    assert [peers.find(peer.session.id) for peer in all_peers] == [None, None]
    await until(lambda: len(engine.streams) == 0, "the streams are freed")


async def test_the_oldest_kept_session_gives_its_place_and_only_when_it_is_needed(peers):
    first = await peers.add(lambda session: SlowPeer(session, at_once()))
    await left(peers, first)
    second = await peers.add(lambda session: SlowPeer(session, at_once()))
    assert peers.find(first.session.id) is first.session, "there is room for both"
    await left(peers, second)
    third = await peers.add(lambda session: SlowPeer(session, at_once()))  # of two places in all
    assert peers.find(first.session.id) is None and peers.find(second.session.id) is second.session
    assert timers() == 1
    await peers.add(lambda session: SlowPeer(session, at_once()), former=second.session.id)
    with pytest.raises(NoPlace):
        await peers.add(lambda session: SlowPeer(session, at_once()))
    assert peers.find(third.session.id) is third.session


async def test_a_kept_session_is_ended_by_dismissal_unless_it_may_return(peers):
    peer = await peers.add(lambda session: SlowPeer(session, at_once()))
    await left(peers, peer)
    assert await peers.dismiss(peer.session.id, "asked to", may_return=True) is False
    assert peers.find(peer.session.id) is peer.session
    assert await peers.dismiss(peer.session.id, "asked to") is True
    assert peers.find(peer.session.id) is None
    await asyncio.sleep(0)
    assert timers() == 0
    assert await peers.dismiss(peer.session.id, "asked to") is False


async def test_nobody_comes_back_while_the_server_shuts_down(server, settings, engine):
    peers = PeerRegistry(Services(settings, server.worker, Metrics()))
    may_close = asyncio.Event()
    peer = await peers.add(lambda session: SlowPeer(session, may_close))
    comes_back = asyncio.create_task(peers.add(lambda s: SlowPeer(s, may_close), former=peer.session.id))
    await peer.is_closing.wait()
    leave = asyncio.create_task(peers.dismiss_all())
    await until(lambda: peers._peers.is_closing, "the server shuts down")
    may_close.set()
    with pytest.raises(NoPlace, match="shutting down"):
        await comes_back
    await asyncio.wait_for(leave, PATIENCE_S)
    assert len(peers) == 0 and peers.find(peer.session.id) is None
    await until(lambda: len(engine.streams) == 0, "the stream is freed")


async def refused(server: RunningServer, id: str, status: int) -> None:
    """An offer for this session, valid but for a status of 400, is refused."""
    viewer = Viewer(server.url, server.http, former=id)
    try:
        offer = "v=0" if status == 400 else await viewer.offer()
        response = await viewer.post(offer)
        assert response.status == status, await response.text()
    finally:
        await viewer.close()


@pytest.mark.parametrize(
    ("pace", "min_fps", "max_fps", "places"),
    [
        (100.0, 16.0, 24.0, 4),  # as many as allowed
        (40.0, 16.0, 24.0, 2),
        (47.9, 16.0, 24.0, 2),
        (48.0, 16.0, 24.0, 3),
        (10.0, 16.0, 24.0, 1),  # whoever is alone may always
        (40.0, 16.0, 10.0, 4),  # nobody gets more than 10 fps anyway
        (10.0, 0.0, 24.0, 4),
    ],
)
async def test_there_are_as_many_places_as_keep_their_frame_rate(engine, pace, min_fps, max_fps, places):
    engine.warm_pace = pace
    asked = load_settings({"max_sessions": 4, "min_fps": min_fps, "max_fps": max_fps})
    async with running_server(asked, engine) as server:
        await server.worker.ready()
        assert (await server.json("/api/info"))["max_sessions"] == places


async def test_who_would_slow_all_too_much_waits_in_line(engine):
    engine.warm_pace = 20.0
    engine.may_ask.clear()  # no chunk is made: the pace stays
    async with running_server(load_settings({"max_sessions": 4}), engine) as server:
        await server.worker.ready()
        async with server.viewer():
            second = Viewer(server.url, server.http)
            response = await second.post(await second.offer(), ticket="t" * 16)
            assert (response.status, response.headers["Queue-Position"]) == (503, "1")
            assert "all 1 places are taken; one more would slow all below 16 fps; you are number 1" in (
                await response.text()
            )
            await second.close()
            engine.may_ask.set()
