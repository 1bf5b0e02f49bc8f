"""Media stays in the range of UDP ports that is configured, and says so when it is used up."""

import asyncio
import re
import socket

import pytest

from server.settings import load_settings
from server.webrtc.aiortc_patches.udp_ports import udp_ports_from
from tests.server.running import CAMERA_FPS, Viewer, running_server


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_port_of_the_range_is_taken_and_others_are_left_alone():
    port, loop = free_port(), asyncio.get_running_loop()
    with udp_ports_from((port, port)):
        first, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        assert first.get_extra_info("sockname")[1] == port
        with pytest.raises(OSError, match=f"no UDP port of {port}-{port} is free on 127.0.0.1"):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        first.close()
    other, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    assert other.get_extra_info("sockname")[1] != port
    other.close()


async def test_the_answer_names_a_port_of_the_range_and_the_public_address(engine):
    """Fails if aioice binds its sockets in another way than through the event loop."""
    port = free_port()
    ports = f"{port}-{min(port + 20, 65535)}"
    settings = load_settings({"max_fps": CAMERA_FPS, "udp_ports": ports, "public_address": "192.0.2.7"})
    async with running_server(settings, engine) as server, server.viewer() as viewer:
        found = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", viewer.answer)
        assert {address for address, _ in found} == {"192.0.2.7"}
        assert all(port <= int(number) <= port + 20 for _, number in found)


async def test_without_a_free_port_the_offer_is_refused(engine):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        viewer = None
        async with running_server(load_settings({"udp_ports": f"{port}-{port}"}), engine) as server:
            viewer = Viewer(server.url, server.http)
            viewer.pc.addTransceiver(viewer.camera)
            offer = await viewer.pc.createOffer()
            response = await viewer.post(offer.sdp)
            assert (response.status, await response.text()) == (503, "no UDP port is free for media")
            assert "Retry-After" in response.headers
            assert (await server.json("/api/info"))["sessions"] == 0
            await viewer.close()
