"""Viewer of a session: a WebRTC connection that receives its pictures and sends none."""

from server.session.session import LiveSession
from server.settings import Settings
from server.webrtc.connection import InvalidOffer, WebRtcConnection, video_directions


class Viewer(WebRtcConnection):
    """The session is another's and notices nothing of it; the viewer ends with it."""

    def __init__(self, id: str, session: LiveSession, settings: Settings) -> None:
        super().__init__(session, settings, f"viewer {id[:8]}")
        self.id = id

    async def accept(self, offer: str) -> str:
        """The SDP answer to an SDP offer. Raises InvalidOffer or NoUdpPort."""
        check_viewer_offer(offer)
        return await self.answer(offer)


def check_viewer_offer(offer: str) -> None:
    """Raise InvalidOffer unless this is SDP with a video track that the viewer wants to receive."""
    directions = video_directions(offer)
    if not directions:
        raise InvalidOffer("the offer has no video: expected one video track, recvonly")
    if not {"recvonly", "sendrecv"} & set(directions):
        raise InvalidOffer(f"the offer receives no video ({', '.join(directions)}): expected recvonly")
