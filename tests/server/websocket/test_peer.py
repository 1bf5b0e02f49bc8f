"""What one WebSocket may leave behind or pile up: a WebSocketPeer on a socket of the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import WSMessage, WSMsgType

from server.access.validity import ALWAYS, EXPIRED, LOGGED_OUT, EndedLogins, Login, Validity
from server.metrics import Metrics
from server.protocol.replies import Pong, Telemetry
from server.services import Services
from server.session.channel import MAX_CLIENTS
from server.session.session import LiveSession
from server.websocket.media_frame import Kind, MediaFrame, decode_frame
from server.websocket.peer import ENDED, KEPT, UNREAD_TELEMETRY, WebSocketPeer, close_reason
from server.websocket.receiver import UPLOAD_WINDOW
from server.websocket.socket_writer import UNREAD_MESSAGES
from tests.server.running import until
from tests.server.websocket.media_client import jpeg


class Socket:
    """Takes nothing until `may_send`. `come` is what the client sends."""

    def __init__(self) -> None:
        self.may_send = asyncio.Event()
        self.texts: list[str] = []
        self.frames: list[bytes] = []
        self.closed_with: list[tuple[int, bytes]] = []
        self.close_code: int | None = None
        self._come: asyncio.Queue[WSMessage | None] = asyncio.Queue()

    def come(self, type: WSMsgType, data: str | bytes) -> None:
        self._come.put_nowait(WSMessage(type, data, None))

    def leave(self, code: int) -> None:
        self.close_code = code
        self._come.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[WSMessage]:
        while (message := await self._come.get()) is not None:
            yield message

    async def send_str(self, text: str) -> None:
        await self.may_send.wait()
        self.texts.append(text)

    async def send_bytes(self, data: bytes) -> None:
        await self.may_send.wait()
        self.frames.append(data)

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed_with.append((code, message))


@pytest.fixture
def services(settings, worker) -> Services:
    return Services(settings, worker, Metrics())


@pytest.fixture
async def session(services) -> AsyncIterator[LiveSession]:
    session = LiveSession("abc", services)
    yield session
    await session.close()


@asynccontextmanager
async def attended(
    session: LiveSession,
    services: Services,
    *,
    keeps_session: bool = True,
    validity: Validity = ALWAYS,
) -> AsyncIterator[tuple[WebSocketPeer, Socket, Callable[[], bool]]]:
    """A peer, its socket, and whether attend() has returned; closed at the end."""
    socket = Socket()
    peer = WebSocketPeer(socket, session, services, validity)  # pyright: ignore[reportArgumentType]
    attending = asyncio.create_task(peer.attend())
    await asyncio.sleep(0)
    try:
        yield peer, socket, attending.done
    finally:
        await peer.close(keeps_session=keeps_session)
        await attending


def telemetry(session: LiveSession) -> Telemetry:
    return Telemetry(depth_preview=None, timeline_position=None, **dict(session.figures()))


async def test_a_client_that_does_not_read_its_messages_is_given_up_for_good(session, services):
    async with attended(session, services) as (peer, socket, is_over):
        for _ in range(2 * UNREAD_MESSAGES):
            session.channels.send(Pong(id="told"))
        await until(is_over, "it is given up")
        assert len(peer._writer) <= UNREAD_MESSAGES, "messages are bounded"
        assert peer.may_return is False
    assert socket.closed_with == [(KEPT, b"it does not read its messages")]


async def test_figures_that_are_not_read_are_dropped_and_end_nothing(session, services):
    async with attended(session, services) as (peer, socket, is_over):
        for _ in range(2 * UNREAD_MESSAGES):
            session.channels.send_telemetry(telemetry(session))
        assert len(peer._writer) == UNREAD_TELEMETRY and not is_over()
        socket.may_send.set()
        await until(lambda: not len(peer._writer), "all is sent")
        session.channels.send_telemetry(telemetry(session))
        await until(lambda: not len(peer._writer), "newer figures are sent again")
        assert not is_over() and peer.may_return is True


async def test_a_socket_that_is_gone_listens_no_more(session, services):
    """Nothing leaks: a kept session is taken up again and again."""
    for _ in range(MAX_CLIENTS + 1):
        async with attended(session, services) as (_, socket, is_over):
            assert not is_over()
            socket.leave(1006)
            await until(is_over, "the loss is seen")
    assert not session.channels.is_watched and session.channels._clients == []


async def test_who_listens_in_vain_is_told_so_and_leaves_nothing(session, services):
    leaves = [session.join(lambda text: None) for _ in range(MAX_CLIENTS)]
    async with attended(session, services) as (_, socket, is_over):
        await until(is_over, "there is no room")
    assert socket.closed_with[0][1] == b"8 clients listen to this session already"
    for leave in leaves:
        leave()
    assert session.channels._clients == []


@pytest.mark.parametrize(("code", "may_return"), [(1000, False), (1001, False), (1006, True), (None, True)])
async def test_who_leaves_with_a_word_does_not_return(session, services, code, may_return):
    async with attended(session, services) as (peer, socket, is_over):
        socket.leave(code)
        await until(is_over, "it is over")
        assert peer.may_return is may_return


async def test_who_breaks_the_protocol_does_not_return(session, services):
    async with attended(session, services, keeps_session=False) as (peer, socket, is_over):
        socket.come(WSMsgType.BINARY, MediaFrame(Kind.JPEG, 77, payload=b"x").encode())
        await until(is_over, "it is over")
        assert peer.may_return is False
    ((code, reason),) = socket.closed_with
    assert code == 1008 and reason.startswith(b"breaks the protocol: ")


async def test_a_heartbeat_that_stops_ends_the_peer_and_its_session_waits(settings, worker):
    services = Services(settings.model_copy(update={"peer_timeout": 0.01}), worker, Metrics())
    session = LiveSession("abc", services)
    async with attended(session, services) as (peer, socket, is_over):
        socket.may_send.set()
        socket.come(WSMsgType.TEXT, '{"type": "ping", "id": "1"}')
        await until(is_over, "it is missed")
        assert peer.may_return is True
    assert socket.closed_with == [(KEPT, b"no heartbeat for 0.01 s")]
    await session.close()


async def test_a_fault_of_ours_ends_the_peer_alone_and_is_logged(session, services, monkeypatch, caplog):
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    async with attended(session, services, keeps_session=False) as (peer, socket, is_over):
        monkeypatch.setattr(session, "receive", fail)
        socket.come(WSMsgType.TEXT, "anything")
        await until(is_over, "it is over")
        assert peer.may_return is False
    assert socket.closed_with == [(1011, b"internal error")] and "ZeroDivisionError" in caplog.text


async def test_what_takes_nothing_for_long_is_lost_and_may_return(session, services, monkeypatch):
    for module in ("peer", "socket_writer"):
        monkeypatch.setattr(f"server.websocket.{module}.SEND_TIMEOUT_S", 0.01)
    async with attended(session, services) as (peer, socket, is_over):
        await until(is_over, "the first message is not taken")
        assert peer.may_return is True and socket.closed_with == []
    assert socket.closed_with == [(KEPT, b"took nothing for 0.01 s")]


async def test_the_end_of_the_session_is_told_by_the_close_code(session, services):
    for keeps_session, code in ((True, KEPT), (False, ENDED)):
        async with attended(session, services, keeps_session=keeps_session) as (peer, socket, _):
            peer.hang_up("first")
            peer.hang_up("second", may_return=False)
            assert peer.may_return is True, "the first word counts"
        assert socket.closed_with == [(code, b"first")]
        assert peer.is_closed.is_set()


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_logged_out", [True, False])
async def test_law_a_connection_ends_with_its_token_or_its_login(session, services, is_logged_out):
    loop, ended = asyncio.get_running_loop(), EndedLogins()
    validity = Validity(None if is_logged_out else loop.time() + 5, Login("ann", 2), ended)
    async with attended(session, services, validity=validity) as (peer, socket, is_over):
        socket.may_send.set()
        await asyncio.sleep(4.9)
        ended.add(Login("ann", 1))
        ended.add(Login("eve", 2))
        assert not is_over()
        if is_logged_out:
            ended.add(Login("ann", 2))
        await asyncio.sleep(1)
        assert is_over() and peer.may_return is not is_logged_out
        await peer.close(keeps_session=peer.may_return)
    assert socket.closed_with[0] == (4401, (LOGGED_OUT if is_logged_out else EXPIRED).encode())


def frames_of(socket: Socket) -> list[MediaFrame]:
    return [decode_frame(data) for data in socket.frames]


async def came(socket: Socket, *kinds: Kind) -> list[MediaFrame]:
    """What has been sent, once it is of these kinds."""
    await until(lambda: [frame.kind for frame in frames_of(socket)] == list(kinds), f"{kinds}")
    return frames_of(socket)


async def test_a_client_is_asked_for_vp8_and_given_credit_once_for_each_picture(session, services):
    kept = []
    session.camera_frame = kept.append
    async with attended(session, services) as (_, socket, is_over):
        socket.may_send.set()
        asked, credit = await came(socket, Kind.CODEC_REQUEST, Kind.CREDIT)
        assert (asked.sequence, credit.sequence) == (Kind.VP8, UPLOAD_WINDOW)
        socket.frames.clear()
        for sequence in range(2):
            picture = MediaFrame(Kind.JPEG, sequence, 1000 * sequence, payload=jpeg(9))
            socket.come(WSMsgType.BINARY, picture.encode())
            await until(lambda sequence=sequence: len(kept) > sequence, "it is kept")
        credits = await came(socket, Kind.CREDIT, Kind.CREDIT)
        assert [frame.sequence for frame in credits] == [UPLOAD_WINDOW + 1, UPLOAD_WINDOW + 2]
        assert [frame.pts for frame in kept] == [0, 1000] and not is_over()


async def test_pictures_go_out_with_credit_as_the_client_wants_them(session, services):
    rgb = np.zeros((48, 64, 3), np.uint8)
    async with attended(session, services) as (_, socket, _):
        socket.may_send.set()
        await came(socket, Kind.CODEC_REQUEST, Kind.CREDIT)
        socket.frames.clear()
        for total, (kind, wanted) in enumerate(((Kind.JPEG, None), (Kind.VP8, Kind.VP8)), start=1):
            if wanted is not None:
                socket.come(WSMsgType.BINARY, MediaFrame(Kind.CODEC_REQUEST, wanted).encode())
            socket.come(WSMsgType.BINARY, MediaFrame(Kind.CREDIT, total).encode())
            await rest()
            session.playout.broadcast.publish(rgb, 90 * total)
            (frame,) = await came(socket, kind)
            assert (frame.sequence, frame.timestamp_us, frame.skipped) == (total - 1, 1000 * total, 0)
            socket.frames.clear()
    assert not session.playout.broadcast.is_watched, "closed, it watches no more"


async def test_what_gives_way_to_newer_pictures_is_counted(session, services):
    async with attended(session, services) as (peer, socket, _):
        socket.may_send.set()
        for number in range(3):
            session.playout.broadcast.publish(np.zeros((48, 64, 3), np.uint8), number)
            await rest()
        peer._upload._came = asyncio.Event()  # nothing is decoded
        for sequence in range(3):
            socket.come(WSMsgType.BINARY, MediaFrame(Kind.JPEG, sequence, payload=jpeg(9)).encode())
        await rest()
        text = services.metrics.render().decode()
        assert 'depthlive_dropped_frames_total{place="download"} 2.0' in text
        assert 'depthlive_dropped_frames_total{place="upload"} 2.0' in text


async def test_what_is_no_picture_is_told_and_ends_nothing(session, services):
    async with attended(session, services) as (_, socket, is_over):
        socket.may_send.set()
        socket.come(WSMsgType.BINARY, MediaFrame(Kind.JPEG, 0, payload=b"no picture").encode())
        await until(lambda: any("camera frame 0" in text for text in socket.texts), "it is told")
        error = json.loads(next(text for text in socket.texts if "camera frame 0" in text))
        assert (error["type"], error["code"]) == ("error", "rejected") and not is_over()


async def rest() -> None:
    """Until all that could be done by now has been."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_reason_is_cut_to_what_a_close_frame_can_carry():
    assert close_reason("short") == b"short"
    assert close_reason("x" * 124) == b"x" * 123
    assert close_reason("x" * 122 + "ä") == b"x" * 122, "no half letters"
