"""Viewer of a session: a WebRTC connection that receives its pictures and sends none."""

from server.access.validity import ALWAYS, Validity
from server.session.session import LiveSession
from server.settings import Settings
from server.webrtc.connection import WebRtcConnection
from server.webrtc.offer import Offer


class Viewer(WebRtcConnection):
    """The session is another's and notices nothing of it; the viewer ends with it."""

    def __init__(
        self, id: str, session: LiveSession, settings: Settings, validity: Validity = ALWAYS
    ) -> None:
        super().__init__(session, settings, f"viewer {id[:8]}")
        self.id = id
        self._validity = validity

    def _why_over(self, now: float) -> str | None:
        over = self._validity.over(now)
        return over.reason if over is not None else super()._why_over(now)

    async def accept(self, offer: Offer) -> str:
        """The SDP answer to a viewer's offer. Raises InvalidOffer or NoUdpPort."""
        return offer.answered(await self.answer(offer))
