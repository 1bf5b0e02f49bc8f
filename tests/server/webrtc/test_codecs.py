import pytest
from aiortc.sdp import SessionDescription

from server.settings import load_settings
from server.webrtc.codecs import codec_preferences
from server.webrtc.connection import InvalidOffer
from tests.server.webrtc.offers import offer_of
from tests.server.webrtc.test_peer import peer_of


@pytest.mark.parametrize("codecs", [("h264", "vp8"), ("vp8", "h264"), ("vp8",), ("h264",)])
def test_preferences_follow_the_setting(codecs):
    names = [codec.name.lower() for codec in codec_preferences(codecs)]
    assert list(dict.fromkeys(names)) == [*codecs, "rtx"]


@pytest.mark.parametrize("codecs", [("h264", "vp8"), ("vp8", "h264"), ("vp8",), ("h264",)])
async def test_the_answer_has_the_codecs_of_the_setting_in_their_order(worker, codecs):
    peer = peer_of(worker, load_settings({"codecs": codecs}))
    try:
        answer = SessionDescription.parse(await peer.accept(await offer_of(("video", "sendrecv"))))
        names = [codec.name.lower() for codec in answer.media[0].rtp.codecs if codec.name != "rtx"]
        assert list(dict.fromkeys(names)) == list(codecs)
    finally:
        await peer.close()


async def test_an_offer_of_other_codecs_alone_is_refused(worker):
    peer = peer_of(worker, load_settings({"codecs": ["vp8"]}))
    try:
        offer = (await offer_of(("video", "sendrecv"))).replace("VP8", "VP9")
        with pytest.raises(InvalidOffer, match="cannot be answered"):
            await peer.accept(offer)
    finally:
        await peer.close()
