"""No candidate is tried at an address that the rule forbids, by whichever way it comes."""

import aioice.ice
import pytest
from aioice.candidate import Candidate

from server.webrtc.aiortc_patches.candidate_addresses import candidates_only_at
from server.webrtc.candidates import AddressRule
from server.webrtc.offer import read_offer
from server.webrtc.trickle import parse_fragment
from server.webrtc.viewer import Viewer
from tests.server.webrtc.offers import offer_of
from tests.server.webrtc.test_trickle import split
from tests.server.webrtc.test_viewer import session  # noqa: F401 -- a fixture

STRANGER = AddressRule(loopback=False, private=True)
HIDDEN = "3f2c-9a.local"


def line(address: str, port: int = 5000) -> str:
    return f"a=candidate:1 1 udp 2130706431 {address} {port} typ host"


class Names:
    """In place of multicast DNS: every hidden name is this address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(self, name: str) -> str:
        return self.address


@pytest.fixture(params=["127.0.0.1", "169.254.169.254", "192.0.2.9"])
def hidden(request, monkeypatch):
    """The address behind HIDDEN, and those that are to be tried of the offer and the fragment below."""

    async def protocol(subscriber: object) -> Names:
        return Names(request.param)

    monkeypatch.setattr(aioice.ice, "get_or_create_mdns_protocol", protocol)
    return [HIDDEN] if STRANGER(request.param) else []


ADDRESSES = ["127.0.0.1", "255.255.255.255", "224.0.0.1", "192.0.2.1", HIDDEN, "0.0.0.0", "::1"]


async def test_addresses_are_looked_at_once_they_are_known(hidden):
    connection = aioice.Connection(ice_controlling=False)
    with candidates_only_at(STRANGER):
        for address in ADDRESSES:
            await connection.add_remote_candidate(Candidate("1", 1, "udp", 1, address, 5000, "host"))
    assert [one.host for one in connection.remote_candidates] == ["192.0.2.1", *hidden]
    await connection.add_remote_candidate(Candidate("1", 1, "udp", 1, "127.0.0.1", 5000, "host"))
    assert len(connection.remote_candidates) == len(hidden) + 2, "without a rule all are tried"
    await connection.close()


async def test_a_connection_tries_none_of_a_strangers_forbidden_addresses(session, settings, hidden):  # noqa: F811
    viewer = Viewer("v", session, settings)
    text, _ = split(await offer_of(("video", "recvonly")))
    candidates = "\r\n".join(map(line, ADDRESSES))
    offer = read_offer(f"{text}{candidates}\r\n", "viewer", settings.codecs, STRANGER)
    try:
        await viewer.accept(offer)
        (transceiver,) = viewer._pc.getTransceivers()
        connection = transceiver.receiver.transport.transport._connection
        assert [one.host for one in connection.remote_candidates] == ["192.0.2.1", *hidden]
        trickled = "\r\n".join(line(address, 5001) for address in ADDRESSES)
        await viewer.add_candidates(parse_fragment(f"a=mid:0\r\n{trickled}\r\n"))
        assert [one.host for one in connection.remote_candidates] == ["192.0.2.1", *hidden] * 2
    finally:
        await viewer.close()
