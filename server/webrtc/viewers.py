"""The register of those who watch sessions: how many may, and who ends with which session."""

import asyncio
import secrets
from collections.abc import Callable

from server.live.session import LiveSession
from server.metrics import Metrics
from server.settings import Settings
from server.webrtc.viewer import Viewer, check_viewer_offer

ADMITTING_S = 0.05  # how soon a viewer that is being admitted is looked at again

Key = tuple[str, str]  # ids of the session and of the viewer


class NothingToWatch(Exception):
    """There is no such session."""


class ViewersFull(Exception):
    """As many watch this session as may; the text says how many."""


class Viewers:
    """Every viewer of this process. One takes no place of a session and leaves with the one it watches."""

    def __init__(
        self, settings: Settings, find: Callable[[str], LiveSession | None], metrics: Metrics
    ) -> None:
        """`find` gives the running session of an id."""
        self._settings = settings
        self._find = find
        self._metrics = metrics
        self._viewers: dict[Key, Viewer] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._viewers)

    async def admit(self, session_id: str, offer: str) -> tuple[Viewer, str]:
        """A new viewer and the answer. Raises NothingToWatch, ViewersFull or InvalidOffer."""
        session = self.session(session_id)
        check_viewer_offer(offer)
        most = self._settings.max_viewers
        if sum(watched == session_id for watched, _ in self._viewers) >= most:
            raise ViewersFull(f"{most} viewers watch this session already, as many as may; try again later")
        id = secrets.token_urlsafe(16)
        key = session_id, id
        viewer = self._viewers[key] = Viewer(id, session, self._settings)
        self._metrics.viewers.set(len(self))
        try:
            answer = await viewer.accept(offer)
        except BaseException:
            await self._leave(key)
            raise
        self._tasks[key] = asyncio.create_task(self._attend(key))
        return viewer, answer

    def session(self, id: str) -> LiveSession:
        """The running session of this id. Raises NothingToWatch."""
        session = None if self._is_closing else self._find(id)
        if session is None:
            raise NothingToWatch("no such session; it may have ended")
        return session

    def find(self, session_id: str, id: str) -> Viewer | None:
        """The viewer of this id."""
        return self._viewers.get((session_id, id))

    async def dismiss(self, session_id: str, id: str, reason: str) -> bool:
        """End a viewer; False when there is none of this id. Returns when it is closed."""
        key = session_id, id
        if (task := self._tasks.get(key)) is None:
            return False
        self._viewers[key].hang_up(reason)
        await asyncio.wait([task])
        return True

    async def dismiss_all(self) -> None:
        """End every viewer, those being admitted too, and admit no more; returns when all are closed."""
        self._is_closing = True
        for viewer in self._viewers.values():
            viewer.hang_up("the server is shutting down")
        while self._viewers:
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            else:
                await asyncio.sleep(ADMITTING_S)

    async def _attend(self, key: Key) -> None:
        try:
            await self._viewers[key].attend()
        finally:
            await self._leave(key)

    async def _leave(self, key: Key) -> None:
        try:
            await self._viewers[key].close()
        finally:
            del self._viewers[key]
            self._tasks.pop(key, None)
            self._metrics.viewers.set(len(self))
