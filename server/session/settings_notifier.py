"""Notifier of clients: the settings in effect whenever they have changed, at most once in DELAY_S."""

import asyncio
from collections.abc import Callable

from server.protocol.replies import SessionSettings

DELAY_S = 0.1  # in which changes are gathered into one message


class SettingsNotifier:
    """Call `schedule` whenever something may have changed; `close` in the end."""

    def __init__(self, read: Callable[[], SessionSettings], tell: Callable[[SessionSettings], None]) -> None:
        self._read = read
        self._tell = tell
        self._told: dict[str, object] | None = None
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Tell what is in effect in a moment, if it differs from what was told last."""
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(DELAY_S, self._now)

    def close(self) -> None:
        """Tell no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> None:
        self._timer = None
        settings = self._read()
        content = settings.model_dump(exclude={"timeline": {"position"}})  # which changes all the time
        if content != self._told:
            self._told = content
            self._tell(settings)
