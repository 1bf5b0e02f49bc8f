"""Probe of STUN and TURN servers: a real binding request, or a real allocation that is given back."""

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Any

from aioice import stun, turn
from aiortc.rtcicetransport import parse_stun_turn_uri

PATIENCE_S = 5.0
RETRY_S = 0.5  # the first; each next one takes twice as long (RFC 8489, 6.2.1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: `problem` why it is of no use, else the address that it sees or lends."""

    problem: str | None = None
    address: str | None = None


class _Binding(asyncio.DatagramProtocol):
    """One STUN transaction."""

    def __init__(self) -> None:
        self.request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        self.response: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return  # not of this transaction
        if message.transaction_id == self.request.transaction_id and not self.response.done():
            self.response.set_result(message)

    def error_received(self, exc: Exception) -> None:
        if not self.response.done():
            self.response.set_exception(exc)


class _End(asyncio.DatagramProtocol):
    """Tells when an allocation has been given back."""

    def __init__(self) -> None:
        self.is_lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()


async def probe(url: str, username: str | None, credential: str | None) -> Answer:
    """Ask one server. Raises nothing that the network or the server may cause."""
    try:
        parts: dict[str, Any] = parse_stun_turn_uri(url)
    except ValueError as error:
        return Answer(problem=str(error))
    address = (parts["host"], parts["port"])
    try:
        async with asyncio.timeout(PATIENCE_S):
            if parts["scheme"] == "stun":
                return await _ask_stun(address)
            if parts["scheme"] == "stuns":
                return Answer(problem="stuns: is not used by this server; expected stun:")
            is_secure = parts["scheme"] == "turns"
            return await _ask_turn(address, username, credential, parts["transport"], is_secure)
    except (TimeoutError, stun.TransactionTimeout):
        return Answer(problem=f"no answer within {PATIENCE_S:g} s")
    except stun.TransactionFailed as error:
        code, words = error.response.attributes.get("ERROR-CODE", (0, "no reason given"))
        return Answer(problem=f"refused with {code}: {words}")
    except socket.gaierror as error:
        return Answer(problem=f"{parts['host']}: {error.strerror}")
    except OSError as error:  # asyncio puts the address where the reason should be
        return Answer(problem=os.strerror(error.errno) if error.errno else str(error) or "failed")
    except stun.TransactionError as error:
        return Answer(problem=str(error) or "failed")


async def _ask_stun(address: tuple[str, int]) -> Answer:
    loop = asyncio.get_running_loop()
    transport, binding = await loop.create_datagram_endpoint(_Binding, remote_addr=address)
    try:
        wait = RETRY_S
        while True:  # until the time limit
            transport.sendto(bytes(binding.request))
            try:
                async with asyncio.timeout(wait):
                    response = await asyncio.shield(binding.response)
                    break
            except TimeoutError:
                if wait > PATIENCE_S:
                    raise
                wait *= 2
    finally:
        transport.close()
    if response.message_class is not stun.Class.RESPONSE:
        raise stun.TransactionFailed(response)
    seen = response.attributes.get("XOR-MAPPED-ADDRESS") or response.attributes.get("MAPPED-ADDRESS")
    return Answer(address=seen[0] if seen else None)


async def _ask_turn(
    address: tuple[str, int], username: str | None, credential: str | None, transport: str, is_secure: bool
) -> Answer:
    if username is None or credential is None:
        return Answer(problem="no credentials: expected turn_secret, or username and credential")
    endpoint, end = await turn.create_turn_endpoint(
        _End,
        server_addr=address,
        username=username,
        password=credential,
        ssl=is_secure or None,
        transport=transport,
    )
    try:
        lent: tuple[str, int] = endpoint.get_extra_info("sockname")
        return Answer(address=lent[0])
    finally:
        endpoint.close()  # gives the allocation back, in a task of its own
        await end.is_lost.wait()
