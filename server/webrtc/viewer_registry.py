"""Registry of viewers: how many may watch a session, and which end with it."""

import secrets
from collections.abc import Callable

from server.access.validity import ALWAYS, Validity
from server.services import Services
from server.session.session import LiveSession
from server.transport.registry import Registry
from server.webrtc.offer import Offer
from server.webrtc.viewer import Viewer

Key = tuple[str, str]  # ids of the session and of the viewer


class NothingToWatch(Exception):
    """There is no such session."""


class ViewersFull(Exception):
    """As many watch this session as may; the text says how many."""


class ViewerRegistry:
    """Every viewer of this process. One takes no place of a session and leaves with the one it watches."""

    def __init__(self, services: Services, find: Callable[[str], LiveSession | None]) -> None:
        """`find` gives the running session of an id."""
        self._settings = services.settings
        self._find = find
        self._viewers: Registry[Key, Viewer] = Registry(Viewer.close, services.metrics.viewers)

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def gone(self) -> int:
        """How many there were."""
        return self._viewers.gone

    async def add(
        self, session_id: str, read: Callable[[], Offer], validity: Validity = ALWAYS
    ) -> tuple[Viewer, str]:
        """A new viewer and the answer. `read` gives its offer, and is called if there is room.

        Raises NothingToWatch, ViewersFull, InvalidOffer or NoUdpPort.
        """
        session = self.session(session_id)
        most = self._settings.max_viewers
        if sum(watched == session_id for watched, _ in self._viewers.keys()) >= most:
            raise ViewersFull(f"{most} viewers watch this session already, as many as may; try again later")
        offer = read()
        viewer = Viewer(secrets.token_urlsafe(16), session, self._settings, validity)
        async with self._viewers.adding((session_id, viewer.id), viewer):
            return viewer, await viewer.accept(offer)

    def session(self, id: str) -> LiveSession:
        """The running session of this id. Raises NothingToWatch."""
        session = None if self._viewers.is_closing else self._find(id)
        if session is None:
            raise NothingToWatch("no such session; it may have ended")
        return session

    def find(self, session_id: str, id: str) -> Viewer | None:
        """The viewer of this id."""
        return self._viewers.get((session_id, id))

    async def dismiss(self, session_id: str, id: str, reason: str) -> bool:
        """End a viewer; False when there is none of this id. Returns when it is closed."""
        return await self._viewers.dismiss((session_id, id), lambda viewer: viewer.hang_up(reason))

    async def dismiss_all(self) -> None:
        """End every viewer, those being admitted too, and admit no more; returns when all are closed."""
        await self._viewers.dismiss_all(lambda viewer: viewer.hang_up("the server is shutting down"))
