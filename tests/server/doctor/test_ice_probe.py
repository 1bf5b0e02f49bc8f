"""The probe, against servers of a few lines on loopback."""

import asyncio
import hashlib
from contextlib import asynccontextmanager

import pytest
from aioice import stun

from server.doctor.ice_probe import probe

LENT = ("192.0.2.9", 50000)


class Server(asyncio.DatagramProtocol):
    """Answers binding requests; lends an address to who has authenticated, if `lends`."""

    def __init__(self, *, lends: bool = True, loses: int = 0) -> None:
        self.methods: list[tuple[str, int | None]] = []
        self._lends, self._loses = lends, loses

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        if self._loses:
            self._loses -= 1
            return
        request = stun.parse_message(data)
        self.methods.append((request.message_method.name, request.attributes.get("LIFETIME")))
        is_known = request.message_method is stun.Method.BINDING or (
            "USERNAME" in request.attributes and self._lends
        )
        response = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.RESPONSE if is_known else stun.Class.ERROR,
            transaction_id=request.transaction_id,
        )
        if is_known:
            response.attributes["XOR-MAPPED-ADDRESS"] = addr
            response.attributes["XOR-RELAYED-ADDRESS"] = LENT
            response.attributes["LIFETIME"] = request.attributes.get("LIFETIME", 600)
        else:
            response.attributes["ERROR-CODE"] = (401, "Unauthorized")
            response.attributes["REALM"] = "example.org"
            response.attributes["NONCE"] = b"once"
        if "USERNAME" in request.attributes and is_known:
            key = hashlib.md5(b"u:example.org:c").digest()
            response.add_message_integrity(key)
        self._transport.sendto(bytes(response), addr)


@asynccontextmanager
async def serving(**options):
    server = Server(**options)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_a_stun_server_says_what_it_sees():
    async with serving() as (server, port):
        answer = await probe(f"stun:127.0.0.1:{port}", None, None)
    assert (answer.problem, answer.address) == (None, "127.0.0.1")
    assert server.methods == [("BINDING", None)]


async def test_a_request_that_is_lost_is_sent_again():
    async with serving(loses=2) as (_, port):
        assert (await probe(f"stun:127.0.0.1:{port}", None, None)).problem is None


async def test_a_turn_server_lends_an_address_and_gets_it_back():
    async with serving() as (server, port):
        answer = await probe(f"turn:127.0.0.1:{port}", "u", "c")
    assert (answer.problem, answer.address) == (None, LENT[0])
    assert server.methods[-1] == ("REFRESH", 0)


async def test_credentials_that_are_refused_are_told():
    async with serving(lends=False) as (_, port):
        answer = await probe(f"turn:127.0.0.1:{port}", "u", "wrong")
    assert answer.problem == "refused with 401: Unauthorized"


async def test_a_server_that_is_silent_is_told(monkeypatch):
    monkeypatch.setattr("server.doctor.ice_probe.PATIENCE_S", 0.2)
    async with serving(loses=1000) as (_, port):
        answer = await probe(f"stun:127.0.0.1:{port}", None, None)
    assert answer.problem == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("stun:127.0.0.1:1", "refused"),
        ("turn:127.0.0.1:1?transport=tcp", "refused"),
        ("stun:", "malformed"),
        ("stuns:127.0.0.1", "not used"),
        ("stun:no.such.host.invalid", ""),
    ],
)
async def test_what_is_no_server_is_told(url, words):
    answer = await probe(url, "u", "c")
    assert answer.problem and words in answer.problem.lower()


async def test_a_turn_server_without_credentials_is_told():
    assert "credentials" in ((await probe("turn:127.0.0.1:1", None, None)).problem or "")
