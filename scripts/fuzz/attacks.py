"""Attacks on a live server: each sends mutated inputs of one kind, as fast as the rules let a client go on.

Beyond them the server cuts a client off, which is tried elsewhere: here it is to read what comes.
"""

import asyncio
import io
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlsplit

import aiohttp
from PIL import Image

from scripts.fuzz.mutation import ODD_WORDS, any_of, bytes_of, lines_of, series
from scripts.fuzz.site import CLOSED, NO_ANSWER, Site, session_of
from scripts.fuzz.targets import targets
from scripts.fuzz.webrtc_peer import Peer, connected
from server.websocket.flow_control import Allowance, CreditError
from server.websocket.media_frame import FrameError, Kind, MediaFrame, decode_frame


@dataclass(slots=True)
class Last:
    """What was sent last on one connection: what comes back is most likely about it."""

    data: bytes = b""


Input = Callable[[int], bytes]
SDP = {"Content-Type": "application/sdp"}
WORKERS = 4
SESSIONS, SOCKETS = 8, 3  # of messages: so many control sockets for each session
OFFER_S = 1 / 19  # between two of each worker, which stands for an address: the limit is 20 a second of one
MESSAGE_S, COMMAND_S, UPLOAD_S = 1 / 45, 1 / 40, 1 / 1.9  # between two: the limits are 50, 50 and 2 a second
PACKETS, PACKETS_S = 8, 0.01  # at once, and between: well below the limits of RTP; of RTCP, a tenth of them
PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
WHOLE_FRAME = 0.2  # share of frames whose header is mutated too: most of those end the socket
READ_BYTES = 1 << 16
QUIET_S = 2.0  # without an answer to half a request


@dataclass(frozen=True, slots=True)
class Attack:
    """`count`: the long form. `run` sends the inputs of these numbers, and ends after the last."""

    count: int
    run: Callable[[Site, Iterator[int], int], Awaitable[None]]


async def _each(workers: int, work: Callable[[int], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(workers):
            tasks.create_task(_coroutine(work, number))


async def _coroutine(work: Callable[[int], Awaitable[None]], number: int) -> None:
    await work(number)


async def _again(site: Site, one: Callable[[], Awaitable[bool]]) -> None:
    """One connection after the other: a new one where the server has closed one, until the numbers are used
    up, as `one` says."""
    while not await one():
        site.tally.answers[CLOSED] += 1


async def sent_all(
    reading: Coroutine[object, object, None], numbers: Iterator[int], send: Callable[[int], Awaitable[None]]
) -> bool:
    """Send what belongs to each number, and read meanwhile; False where the server closes it first."""
    reader = asyncio.create_task(reading)
    try:
        for number in numbers:
            await send(number)
            if reader.done():
                return False
    except (ConnectionError, aiohttp.ClientError):
        return False
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return True


@asynccontextmanager
async def _session(site: Site) -> AsyncIterator[str]:
    """The id of a session of one's own that sends no pictures."""

    async def drain() -> None:
        async for _ in socket:
            pass

    async with site.socket("/ws") as socket:
        id = await session_of(socket)
        task = asyncio.create_task(drain())
        try:
            yield id
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def offers(site: Site, numbers: Iterator[int], seed: int) -> None:
    """By WHIP, to go on with a session, and by WHEP; whoever is let in leaves at once."""
    target = targets()["offers"]
    input_at = series(target.seeds, target.mutate, seed)

    async with _session(site) as id:
        paths = ("/whip", "/whip/", f"/sessions/{id}/whep", "/whip?ticket={}", "/whip?session={}")

        async def work(_: int) -> None:
            for number in numbers:
                path = paths[number % len(paths)].format(quote(random.Random(number).choice(ODD_WORDS)))
                status, headers, _words = await site.ask("POST", path, input_at(number), SDP)
                if status == 201:
                    await site.forget(headers["Location"])
                await asyncio.sleep(OFFER_S)

        await _each(WORKERS, work)


async def fragments(site: Site, numbers: Iterator[int], seed: int) -> None:
    """To sessions that have not connected, whose ICE is open; a new one where it has been given back."""
    target, offer = targets()["fragments"], targets()["offers"].seeds[0]
    input_at = series(target.seeds, target.mutate, seed)

    async def work(_: int) -> None:
        location, etag, draw = "", "", random.Random(seed)
        for number in numbers:
            if not location:
                async with site.http.post(f"{site.url}/whip", data=offer, headers=SDP) as response:
                    location, etag = response.headers.get("Location", ""), response.headers.get("ETag", "")
            match = draw.choice((etag, etag, etag, "*", draw.choice(ODD_WORDS).strip("\r\n\0 ") or "x"))
            headers = {
                "Content-Type": "application/trickle-ice-sdpfrag",
                "If-Match": match.encode("ascii", "replace").decode(),
            }
            path = location or "/whip/none"
            status, answer, _words = await site.ask("PATCH", path, input_at(number), headers)
            etag = answer.get("ETag", etag)
            location = "" if status == 404 else location
        if location:
            await site.forget(location)

    await _each(WORKERS, work)


async def messages(site: Site, numbers: Iterator[int], seed: int) -> None:
    """By control sockets most of all, by HTTP, and by data channels."""
    target = targets()["messages"]
    input_at = series(target.seeds, target.mutate, seed)

    async def work(number: int) -> None:
        while True:
            try:
                async with _session(site) as id, asyncio.TaskGroup() as tasks:
                    for _ in range(SOCKETS):
                        tasks.create_task(_by_sockets(site, id, numbers, input_at))
                    tasks.create_task(_by_http(site, id, numbers, input_at))
                    if number < 2:
                        tasks.create_task(_by_data_channel(site, numbers, input_at))
                return
            except* (ConnectionError, aiohttp.ClientError):
                site.tally.answers[CLOSED] += 1

    await _each(SESSIONS, work)


async def _by_sockets(site: Site, id: str, numbers: Iterator[int], input_at: Input) -> None:
    async def one() -> bool:
        last = Last()
        async with site.socket(f"/sessions/{id}/ws") as socket:

            async def send(number: int) -> None:
                last.data = input_at(number)
                await _send(socket, last.data)
                site.tally.sent += 1
                await asyncio.sleep(MESSAGE_S)

            return await sent_all(_read_texts(site, socket, last), numbers, send)

    await _again(site, one)


async def _read_texts(site: Site, socket: aiohttp.ClientWebSocketResponse, last: Last) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            site.tally.told(message.data, last.data)


async def _send(socket: aiohttp.ClientWebSocketResponse, data: bytes) -> None:
    try:
        await socket.send_str(data.decode())
    except UnicodeDecodeError:
        await socket.send_bytes(data)


async def _by_http(site: Site, id: str, numbers: Iterator[int], input_at: Input) -> None:
    for number in numbers:
        await site.ask(
            "POST", f"/sessions/{id}/commands", input_at(number), {"Content-Type": "application/json"}
        )
        await asyncio.sleep(COMMAND_S)


async def _by_data_channel(site: Site, numbers: Iterator[int], input_at: Input) -> None:
    async def one() -> bool:
        last = Last()
        async with connected(site.url, site.http) as peer:
            peer.control.on("message", partial(_told, site, last))
            for number in numbers:
                last.data = input_at(number)
                try:
                    peer.control.send(last.data.decode())
                except UnicodeDecodeError:
                    peer.control.send(last.data)
                site.tally.sent += 1
                await asyncio.sleep(MESSAGE_S)
                if peer.is_closed:
                    return False
        return True

    await _again(site, one)


def _told(site: Site, last: Last, text: str) -> None:
    site.tally.told(text, last.data)


async def frames(site: Site, numbers: Iterator[int], seed: int) -> None:
    """Camera pictures within credit, and other binary messages; a new socket where the server closes one."""
    seeds = [*targets()["jpegs"].seeds, *(data[4:] for data in targets()["vp8"].seeds)]
    picture_at = series(seeds, bytes_of, seed)
    other_at = series(targets()["frames"].seeds, bytes_of, seed)

    async def one() -> bool:
        async with site.socket("/ws") as socket:
            camera = _Camera(site, socket)

            async def send(number: int) -> None:
                if random.Random(f"{seed}-{number}").random() < WHOLE_FRAME:
                    await camera.send(other_at(number))
                else:
                    await camera.film(picture_at(number) or b"\0", number)

            return await sent_all(camera.read(), numbers, send)

    await _each(WORKERS, lambda _: _again(site, one))


class _Camera:
    """A media WebSocket that keeps to its credit."""

    def __init__(self, site: Site, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._site, self._socket = site, socket
        self._upload, self._last = Allowance(), Last()
        self._changed = asyncio.Event()  # there is credit, or the socket is closed

    async def read(self) -> None:
        """Until the socket is closed."""
        tally = self._site.tally
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    tally.told(message.data, self._last.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    frame = decode_frame(message.data)
                    if frame.kind is Kind.CREDIT:
                        self._upload.raise_to(frame.sequence)
                        self._changed.set()
        except (FrameError, CreditError) as error:
            tally.fault(f"the server breaks the protocol: {error}", self._last.data)
        if self._socket.close_code == aiohttp.WSCloseCode.INTERNAL_ERROR:
            tally.fault("closed for an internal error", self._last.data)
        self._changed.set()

    async def film(self, payload: bytes, number: int) -> None:
        """Send a picture as soon as there is credit; none where the socket is closed first."""
        while not self._upload.may_send:
            self._changed.clear()
            if self._socket.closed:
                return
            await self._changed.wait()
        kind = Kind.JPEG if payload.startswith(b"\xff") else Kind.VP8
        await self.send(MediaFrame(kind, self._upload.spend(), number * 1000, payload=payload).encode())

    async def send(self, data: bytes) -> None:
        self._last.data = data
        await self._socket.send_bytes(data)
        self._site.tally.sent += 1


async def pictures(site: Site, numbers: Iterator[int], seed: int) -> None:
    """Uploads, by several sessions, each as often as it may."""
    gif = io.BytesIO()
    still = Image.new("P", (40, 30))
    still.save(gif, "GIF", save_all=True, append_images=[still.copy()])
    input_at = series([*targets()["pictures"].seeds, gif.getvalue()], bytes_of, seed)

    async def work(_: int) -> None:
        async with _session(site) as id:
            for number in numbers:
                data = input_at(number)
                types = [
                    name for name, head in zip(PICTURE_TYPES, HEADS, strict=True) if data.startswith(head)
                ]
                name = types[0] if types else PICTURE_TYPES[number % len(PICTURE_TYPES)]
                await site.ask("POST", f"/sessions/{id}/images", data, {"Content-Type": name})
                await asyncio.sleep(UPLOAD_S)

    await _each(2 * SESSIONS, work)


HEADS = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8")


async def media(site: Site, numbers: Iterator[int], seed: int) -> None:
    """RTP and RTCP of a connected peer, under its keys; now and then without, and what looks like neither."""

    async def one() -> bool:
        async with connected(site.url, site.http) as peer:
            await peer.recorded()
            return await _packets(site, peer, numbers, seed)

    await _each(2, lambda _: _again(site, one))


async def _packets(site: Site, peer: Peer, numbers: Iterator[int], seed: int) -> bool:
    """Whether the numbers were used up before the server ended it."""
    rtp_at = series(peer.rtp, bytes_of, seed)
    rtcp_at = series(peer.rtcp, bytes_of, seed)
    for number in numbers:
        kind = number % 20
        data = rtcp_at(number) if kind in (1, 2) else rtp_at(number)
        if peer.is_closed or not await peer.send(data, protected=kind != 0):
            return False
        site.tally.sent += 1
        if not number % PACKETS:
            await asyncio.sleep(PACKETS_S)
    return True


REQUESTS = tuple(
    text.replace("\n", "\r\n").encode()
    for text in (
        "GET /ws HTTP/1.1\nHost: 127.0.0.1\nUpgrade: websocket\nConnection: Upgrade\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\n",
        "GET /sessions/none/ws HTTP/1.1\nHost: 127.0.0.1\nUpgrade: websocket\nConnection: Upgrade\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\n",
        "POST /whip HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/sdp\nTransfer-Encoding: chunked\n\n"
        "5\nv=0\n\n\n0\n\n",
        "POST /login HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/json\nContent-Length: 15\n\n"
        '{"token": "x" }',
        "PATCH /whip/none HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/trickle-ice-sdpfrag\n"
        "If-Match: *\nContent-Length: 0\n\n",
        "GET /looks/gold.webp HTTP/1.1\nHost: 127.0.0.1\nRange: bytes=0-99\nIf-None-Match: x\n"
        "If-Modified-Since: Mon, 30 Nov 2026 00:00:00 GMT\n\n",
        "GET /index.html HTTP/1.1\nHost: 127.0.0.1\nCookie: depthlive=x; a=b\nAccept-Encoding: br, gzip\n"
        "Range: bytes=-5\nIf-Range: x\n\n",
        "OPTIONS /whip HTTP/1.1\nHost: 127.0.0.1\nOrigin: http://127.0.0.1\n"
        "Access-Control-Request-Method: POST\n\n",
        "GET /api/info?a=%ff&b=%00 HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer x\n"
        "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Prefix: /live\nExpect: 100-continue\n\n",
    )
)


async def requests(site: Site, numbers: Iterator[int], seed: int) -> None:
    """HTTP itself: request lines, headers and chunked bodies as no HTTP library sends them."""
    input_at = series(REQUESTS, any_of(bytes_of, lines_of), seed)
    address = urlsplit(site.url)

    async def work(_: int) -> None:
        for number in numbers:
            data = input_at(number)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            site.tally.sent += 1
            with suppress(ConnectionError, TimeoutError):
                writer.write(data)
                if (answer := await answer_of(reader)) is not None:
                    _heard(site, answer, data)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    await _each(2 * WORKERS, work)


async def answer_of(reader: asyncio.StreamReader) -> bytes | None:
    """An answer by HTTP with the body that its head announces: they come apart. What there is where the
    connection is closed or QUIET_S is over; None if that is nothing, and the connection open."""
    answer = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_S):
            while not _is_whole(answer):
                if not (more := await reader.read(READ_BYTES)):
                    return answer
                answer += more
    return answer or None


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    announced = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(announced[1]) if announced else 0)


def _heard(site: Site, answer: bytes, data: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if not status or not status[0].isdigit():
        site.tally.answers[CLOSED if not answer else NO_ANSWER] += 1
        return
    words = body.decode(errors="replace") if b"\ntext/" in head or b": text/plain" in head else "-"
    if b"Content-Length: 0" in head:
        words = ""
    site.tally.heard(int(status[0]), words, data)


ATTACKS: dict[str, Attack] = {
    "offers": Attack(10_000, offers),
    "messages": Attack(100_000, messages),
    "frames": Attack(10_000, frames),
    "pictures": Attack(2_000, pictures),
    "media": Attack(20_000, media),
    "fragments": Attack(5_000, fragments),
    "requests": Attack(5_000, requests),
}
