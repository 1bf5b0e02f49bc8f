"""From commands to chunks: what waits, what is in flight, what has been seen. Sans-IO; `now` is an argument.

A command is acked when it arrives, taken by the next chunk that is not yet in flight, and applied when the
first picture that it shaped goes out. Of commands of one kind that wait together, the latest wins.
"""

from dataclasses import dataclass
from typing import Literal

from server.replies import Ack, Applied, ErrorReply, Superseded
from server.requests import Command, Reset, SetGuidance, SetPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changes before one chunk; None or False: nothing. Mirrors streaming.engine.Controls."""

    prompt: str | None = None
    transition: Literal["recache", "cut"] = "recache"
    guidance_scale: float | None = None
    reset: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    command: Command
    since: float


class ControlQueue:
    """Commands of one session on their way to the picture.

        replies = queue.submit(command, now)             # on arrival; send them
        change = queue.take(turn)                        # when chunk number `turn` goes to the model
        replies = queue.shown(turn, chunk, frame, now)   # when a picture of it goes out; send them

    `turn` counts the session's own chunks and never goes back, while `chunk` restarts with a hard reset.
    Bounded: at most one command of each kind waits, and as many per chunk in flight.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Waiting] = {}
        self._taken: dict[int, list[_Waiting]] = {}

    def submit(self, command: Command, now: float) -> list[Ack | Superseded]:
        """Queue a command; returns its ack, and the news for the one it replaces, if any still waited."""
        replaced = self._pending.pop(command.type, None)
        self._pending[command.type] = _Waiting(command, now)
        replies: list[Ack | Superseded] = [Ack(id=command.id)]
        if replaced is not None:
            replies.append(Superseded(id=replaced.command.id, by=command.id))
        return replies

    def take(self, turn: int) -> Change:
        """Everything that waits, for chunk number `turn`; nothing waits afterwards."""
        waiting = list(self._pending.values())
        self._pending.clear()
        if waiting:
            self._taken[turn] = waiting
        return _merged([entry.command for entry in waiting])

    def shown(self, turn: int, chunk: int, frame: int, now: float) -> list[Applied]:
        """A picture of chunk `turn` went out, so all that was taken up to that chunk has been applied."""
        done = [entry for key in sorted(self._taken) if key <= turn for entry in self._taken.pop(key)]
        return [
            Applied(
                id=entry.command.id,
                command=entry.command.type,
                chunk=chunk,
                frame=frame,
                latency_ms=round((now - entry.since) * 1000),
            )
            for entry in done
        ]

    def reject(self, turn: int, reason: str) -> list[ErrorReply]:
        """The model refused chunk `turn`: whoever asked for a change with it is told."""
        return [
            ErrorReply(id=entry.command.id, code="rejected", message=reason)
            for entry in self._taken.pop(turn, [])
        ]

    def retry(self, turn: int) -> list[Superseded]:
        """Chunk `turn` was lost unseen: what it carried waits again, unless replaced meanwhile."""
        replies: list[Superseded] = []
        for entry in self._taken.pop(turn, []):
            newer = self._pending.setdefault(entry.command.type, entry)
            if newer is not entry:
                replies.append(Superseded(id=entry.command.id, by=newer.command.id))
        return replies


class RateLimit:
    """Token bucket: `rate` messages a second, and as many at once after a quiet second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._last: float | None = None

    def allows(self, now: float) -> bool:
        """Whether one more message may be handled at `now`; takes a token if so."""
        if self._last is not None:
            self._tokens = min(self._rate, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Heartbeat:
    """Notices a peer that is gone: ICE alone takes half a minute to see a killed browser."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._heard: float | None = None
        self._expected = False

    def heard(self, now: float, *, is_ping: bool) -> None:
        """Some message came. Only a peer that pings promises to keep doing so."""
        self._heard = now
        self._expected = self._expected or is_ping

    def lost(self, now: float) -> bool:
        return self._expected and self._heard is not None and now - self._heard > self._timeout


def _merged(commands: list[Command]) -> Change:
    change: dict[str, object] = {}
    for command in commands:
        match command:
            case SetPrompt(transition="cut"):
                change |= {"prompt": command.weighted[0].text, "transition": "cut"}
            case SetPrompt():
                change |= {"prompt": command.weighted[0].text}
            case SetGuidance(scale=scale):
                change |= {"guidance_scale": scale}
            case Reset(seed=seed):
                change |= {"reset": True, "seed": seed}
            case _:
                pass
    return Change(**change)  # pyright: ignore[reportArgumentType] -- keys and values are matched above
