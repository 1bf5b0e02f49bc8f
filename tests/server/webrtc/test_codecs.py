import pytest
from aiortc.sdp import SessionDescription

from server.settings import load_settings
from tests.server.webrtc.offers import offer_of, published
from tests.server.webrtc.test_peer import peer_of


@pytest.mark.parametrize("codecs", [("h264", "vp8"), ("vp8", "h264"), ("vp8",), ("h264",)])
async def test_the_answer_begins_with_the_codecs_of_the_setting_in_their_order(worker, codecs):
    """aiortc sends the first of them; what else can be decoded comes after it."""
    peer = peer_of(worker, load_settings({"codecs": codecs}))
    try:
        offer = published(await offer_of(("video", "sendrecv")), codecs)
        answer = SessionDescription.parse(await peer.accept(offer))
        names = [codec.name.lower() for codec in answer.media[0].rtp.codecs if codec.name != "rtx"]
        assert list(dict.fromkeys(names)) == list(dict.fromkeys((*codecs, "h264", "vp8")))
    finally:
        await peer.close()
