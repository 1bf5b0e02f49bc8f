"""State machine of a session: four states, the ways between them, and the words that go with each."""

import logging
from collections.abc import Callable
from enum import Enum

from server.protocol.replies import StateChanged


class State(Enum):
    WARMING = "warming"  # the model is not ready
    WAITING = "waiting"  # for camera frames or for the first picture made of them
    LIVE = "live"
    FAILED = "failed"  # for good: the camera is shown, with the reason


TRANSITIONS: dict[State, set[State]] = {
    State.WARMING: {State.WAITING, State.FAILED},
    State.WAITING: {State.LIVE, State.FAILED},
    State.LIVE: {State.WAITING, State.FAILED},
    State.FAILED: set(),
}


class SessionStateMachine:
    """A session's state. `tell` hears of every change of it or its words."""

    def __init__(
        self,
        detail: str,
        tell: Callable[[StateChanged], None],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.state = State.WARMING
        self.detail = detail
        self._restarts = False
        self._tell = tell
        self._log = log

    @property
    def message(self) -> StateChanged:
        return StateChanged(state=self.state.value, detail=self.detail, restarts=self._restarts)

    @property
    def failure(self) -> str | None:
        """Why the session has failed for good; None while it has not."""
        return self.detail if self.state is State.FAILED else None

    def become(self, state: State, detail: str, *, restarts: bool = False) -> None:
        """`restarts`: the server starts again by itself. Raises RuntimeError for a state that cannot follow
        the present one."""
        if (state, detail) == (self.state, self.detail):
            return
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise RuntimeError(f"a session that is {self.state.value} cannot become {state.value}")
            self._log.info("%s (%s)", state.value, detail)
        self.state, self.detail, self._restarts = state, detail, restarts
        self._tell(self.message)
