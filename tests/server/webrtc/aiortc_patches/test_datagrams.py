"""What anybody can send to the UDP port of a connection ends nothing and leaves no traceback."""

import re
import socket

import pytest
from aioice import stun

from server.webrtc.aiortc_patches.datagrams import LONGEST
from tests.server.running import until


def cut_short() -> bytes:
    """A request whose last attribute, of eight bytes, says that it has two."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["ICE-CONTROLLING"] = 1
    whole = bytes(message)
    length = (int.from_bytes(whole[2:4], "big") - 4).to_bytes(2, "big")
    return whole[:2] + length + whole[4:22] + b"\0\2" + whole[24:28]


@pytest.mark.parametrize(
    "data",
    [b"\x80\x61" + bytes(LONGEST), b"\x80\xc8" + bytes(LONGEST), b"\x90" * 60_000, cut_short()],
    ids=["RTP", "RTCP", "longest", "STUN"],
)
async def test_law_a_datagram_of_a_stranger_ends_no_connection(server, caplog, data):
    async with server.viewer() as viewer:
        found = re.search(
            r"a=candidate:\S+ 1 udp \d+ (\d+\.\S+) (\d+) typ host", viewer.answer, re.IGNORECASE
        )
        assert found is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(data, (found[1], int(found[2])))
        camera = viewer.frames[-1:]
        viewer.send({"type": "ping", "id": "after"})
        await viewer.message("pong", id="after")
        await until(lambda: viewer.frames[-1:] != camera, "pictures go on")
        assert viewer.pc.connectionState == "connected"
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
