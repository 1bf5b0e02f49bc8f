"""Queue of commands on their way to the picture: what waits, what is in flight, what has been seen.

Sans-IO; `now` is an argument. A command is acked when it arrives, taken by the next chunk that can still take
it, and applied when the first picture that it shaped goes out. Of commands of one kind that
wait together, the latest wins.
"""

from collections import OrderedDict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from server.protocol.codec import encode
from server.protocol.replies import Ack, Applied, ErrorReply, Superseded
from server.protocol.requests import Command

KNOWN_IDS = 256  # commands whose answers are remembered

Answer: TypeAlias = Ack | Applied | Superseded | ErrorReply
SomeAnswer = TypeVar("SomeAnswer", bound=Answer)


@dataclass(frozen=True, slots=True)
class _Waiting:
    command: Command
    since: float

    @property
    def kind(self) -> str:
        return self.command.group or self.command.type


class ControlQueue:
    """Commands of one session on their way to the picture.

        replies = queue.known(command)                   # not None: sent before, only send these
        replies = queue.submit(command, now)             # on arrival; send them
        queue.take_for_frames(sequence)                  # when chunk number `sequence` gets its frames
        commands = queue.take(sequence)                  # as late as the model can take them for it
        replies = queue.shown(sequence, chunk, frame, now)  # when a picture of it goes out; send them
        replies = queue.done(id, chunk, frame, now)      # for what needs no chunk

    `sequence` counts the session's own chunks and never goes back, while `chunk` restarts with a hard reset.
    Bounded: at most one command of each kind waits, and as many per chunk in flight.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Waiting] = {}
        self._taken: dict[int, list[_Waiting]] = {}
        self._answers = _Answers()

    @property
    def waiting(self) -> list[Command]:
        """What no chunk has taken yet, in the order it came."""
        return [entry.command for entry in self._pending.values()]

    def known(self, command: Command) -> Sequence[Answer] | None:
        """The answers so far of a command that came before; None: it is new.

        Another command under the same id is answered by an error.
        """
        return self._answers.of(command)

    def submit(self, command: Command, now: float) -> list[Ack | Superseded]:
        """Queue a new command; returns its ack, and the news for the one it replaces, if any still waited."""
        self._answers.begin(command)
        replies: list[Ack | Superseded] = [Ack(id=command.id)]
        self._pending, replaced = _joined(self._pending, _Waiting(command, now))
        if replaced is not None:
            replies.append(Superseded(id=replaced.command.id, by=command.id))
        return self._answers.keep(replies)

    def waiting_with(self, commands: Sequence[Command]) -> list[Command]:
        """What would wait if `commands` were submitted now."""
        pending = self._pending
        for command in commands:
            pending, _ = _joined(pending, _Waiting(command, 0.0))
        return [entry.command for entry in pending.values()]

    def take_for_frames(self, sequence: int) -> None:
        """What shapes the camera frames of chunk number `sequence`."""
        self._take(sequence, self._of_frames())

    def take(self, sequence: int) -> list[Command]:
        """Everything else that waits, for chunk number `sequence`, in the order it came."""
        return self._take(sequence, self._pending.keys() - self._of_frames())

    def _of_frames(self) -> set[str]:
        return {kind for kind, entry in self._pending.items() if entry.command.shapes_frames}

    def _take(self, sequence: int, kinds: Set[str]) -> list[Command]:
        taken = [entry for kind, entry in self._pending.items() if kind in kinds]
        self._pending = {kind: entry for kind, entry in self._pending.items() if kind not in kinds}
        if taken:
            self._taken.setdefault(sequence, []).extend(taken)
        return [entry.command for entry in taken]

    def shown(self, sequence: int, chunk: int, frame: int, now: float) -> list[Applied]:
        """A picture of chunk `sequence` went out, so all that was taken up to that chunk has been applied."""
        done = [entry for key in sorted(self._taken) if key <= sequence for entry in self._taken.pop(key)]
        return self._answers.keep([_applied(entry, chunk, frame, now) for entry in done])

    def done(self, id: str, chunk: int | None, frame: int | None, now: float) -> list[Applied]:
        """A command that needs no chunk has taken effect, with this picture on show; if it still waits."""
        done = [entry for entry in self._pending.values() if entry.command.id == id]
        for entry in done:
            del self._pending[entry.kind]
        return self._answers.keep([_applied(entry, chunk, frame, now) for entry in done])

    def refuse(self, id: str, reason: str) -> list[ErrorReply]:
        """A command that waits cannot be carried out."""
        refused = [entry for entry in self._pending.values() if entry.command.id == id]
        for entry in refused:
            del self._pending[entry.kind]
        return self._rejections(refused, reason)

    def reject(self, sequence: int, reason: str) -> list[ErrorReply | Superseded]:
        """The model refused chunk `sequence`: who asked it for a change is told, and the rest waits again."""
        entries = self._taken.pop(sequence, [])
        refused = [entry for entry in entries if entry.command.may_be_refused]
        return [
            *self._rejections(refused, reason),
            *self._wait_again([entry for entry in entries if entry not in refused]),
        ]

    def retry(self, sequence: int) -> list[Superseded]:
        """Chunk `sequence` was lost unseen: what it carried waits again, unless replaced meanwhile."""
        return self._wait_again(self._taken.pop(sequence, []))

    def _wait_again(self, entries: Sequence[_Waiting]) -> list[Superseded]:
        """Before what came later; of the same kind the later one stands for both."""
        replies: list[Superseded] = []
        again = {entry.kind: entry for entry in entries}
        for kind, entry in again.items():
            if (newer := self._pending.get(kind)) is not None:
                again[kind] = _Waiting(newer.command.replacing(entry.command), newer.since)
                replies.append(Superseded(id=entry.command.id, by=newer.command.id))
        self._pending = again | {kind: entry for kind, entry in self._pending.items() if kind not in again}
        return self._answers.keep(replies)

    def _rejections(self, entries: Sequence[_Waiting], reason: str) -> list[ErrorReply]:
        return self._answers.keep(
            [ErrorReply(id=entry.command.id, code="rejected", message=reason) for entry in entries]
        )


class _Answers:
    """What each of the latest commands has been told, by its id."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, tuple[int, list[Answer]]] = OrderedDict()

    def of(self, command: Command) -> list[Answer] | None:
        if command.id not in self._told:
            return None
        fingerprint, answers = self._told[command.id]
        if fingerprint == _fingerprint(command):
            return list(answers)
        expected = "an id that no other command has had"
        return [
            ErrorReply(
                id=command.id,
                code="invalid",
                field="id",
                value=command.id,
                expected=expected,
                message=f"id: got {command.id}, expected {expected}",
            )
        ]

    def begin(self, command: Command) -> None:
        self._told[command.id] = (_fingerprint(command), [])
        if len(self._told) > KNOWN_IDS:
            self._told.popitem(last=False)

    def keep(self, answers: list[SomeAnswer]) -> list[SomeAnswer]:
        """Note the answers and give them back."""
        for answer in answers:
            if answer.id in self._told:
                self._told[answer.id][1].append(answer)
        return answers


class RateLimit:
    """Token bucket: `rate` a second, and `burst` at once after a quiet time."""

    def __init__(self, rate: float, burst: float | None = None) -> None:
        """`burst` None: as many as `rate`, what a second gives."""
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._tokens = self._burst
        self._last: float | None = None

    def allows(self, now: float, amount: float = 1) -> bool:
        """Whether `amount` more may be handled at `now`; takes as many tokens if so."""
        if self._last is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def has(self, now: float, amount: float = 1) -> bool:
        """As `allows`, and takes nothing."""
        since = 0.0 if self._last is None else now - self._last
        return min(self._burst, self._tokens + since * self._rate) >= amount

    def is_full(self, now: float) -> bool:
        """Whether it has been quiet for so long that nothing of it needs to be remembered."""
        return self._last is None or self._tokens + (now - self._last) * self._rate >= self._burst


class Heartbeat:
    """Notices a peer that is gone: ICE alone takes half a minute to see a killed browser."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._heard: float | None = None
        self._expected = False

    def heard(self, now: float) -> None:
        """Some message came."""
        self._heard = now

    def pinged(self) -> None:
        """It was a ping. Only a peer that pings promises to keep doing so."""
        self._expected = True

    def lost(self, now: float) -> bool:
        return self._expected and self._heard is not None and now - self._heard > self._timeout


def _joined(pending: dict[str, _Waiting], entry: _Waiting) -> tuple[dict[str, _Waiting], _Waiting | None]:
    """What waits with `entry` as the last of it, and what that replaces."""
    pending = dict(pending)
    if (replaced := pending.pop(entry.kind, None)) is not None:
        entry = _Waiting(entry.command.replacing(replaced.command), entry.since)
    return pending | {entry.kind: entry}, replaced


def _applied(entry: _Waiting, chunk: int | None, frame: int | None, now: float) -> Applied:
    return Applied(
        id=entry.command.id,
        command=entry.command.type,
        chunk=chunk,
        frame=frame,
        latency_ms=round((now - entry.since) * 1000),
    )


def _fingerprint(command: Command) -> int:
    return hash(encode(command))
