"""Chunk planner of a session: of its commands, what the next chunk is asked and what is in effect.

Sans-IO. `now` is the time of clients, `time` that of what moves by itself, which stands still in a pause.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from server.engine.chunk_job import LatestWins
from server.media.frames import Rgb
from server.media.images import ImageStore
from server.protocol.replies import Ack, ErrorReply, Superseded
from server.protocol.requests import Command
from server.session.command_queue import ControlQueue
from server.session.parameters import Parameters, Plan, Unknown, moves, pictures_of
from streaming.api import DEFAULT_LATENCY, ChunkParameters, EngineInfo, WeightedPrompts

SEED_BITS = 31  # of random seeds: short enough to be read out


def random_seed() -> int:
    return secrets.randbits(SEED_BITS)


@dataclass(slots=True)
class _PlannedChunk:
    """The chunk that the engine has been asked for."""

    sequence: int
    commands: Sequence[Command]  # that `plan` was made of
    plan: Plan
    slot: LatestWins[ChunkParameters]
    is_taken: bool = False  # as far as the event loop knows
    is_made: bool = False  # its first pictures at least


class ChunkPlanner:
    """What each chunk is asked to do. Commands are this chunk's or the next one's, never both nor neither.

    The command handler submits; all else is the generation loop's:

        slot = planner.begin(sequence, time)         # the engine gets it, and takes what is in it
        replies = planner.submit(command, now, time) # any time: still in this chunk, unless that was taken
        planner.refresh(time)                        # when what moves by itself has moved
        plan = planner.taken()                       # the engine has
        parameters = planner.made(chunk)             # and its first pictures are there; or:
        planner.reject(reason, time); planner.lost()
        planner.finish()                             # whatever has become of it

    Nothing in the queue changes by an offer to the engine: a command that finds the slot taken first marks
    what was in it as that chunk's, and waits for the next one itself.
    """

    def __init__(
        self,
        queue: ControlQueue,
        parameters: Parameters,
        draw_seed: Callable[[], int] = random_seed,
        preset: Sequence[Command] = (),
    ) -> None:
        """`queue` has the commands that wait, `parameters` are those to begin with; `preset`: commands that
        are in effect from the beginning."""
        self.preset = preset
        self._first: Sequence[Command] = ()  # before all others, until a chunk has been made
        self.parameters = parameters  # in effect
        self.unknown: Unknown = "nothing"  # to the stream of the next chunk, of what is in effect
        self.images = ImageStore(in_use=self.images_in_use)  # that commands may name
        self._queue = queue
        self._draw_seed = draw_seed
        self._planned: _PlannedChunk | None = None

    def begin_with(self, model: EngineInfo, *, is_new: bool) -> None:
        """The model is known. `is_new`: what is in effect is what a stream of it begins with."""
        self.parameters = self.parameters.of_model(model)
        if is_new:
            self.parameters = self.parameters.beginning_with(model)
            if self.parameters.latency != DEFAULT_LATENCY:
                self.unknown = "sampling"
            if self.preset:
                self._begin_with_preset()

    def _begin_with_preset(self) -> None:
        self.parameters = self.parameters.begun_with(self.preset)
        if self.parameters.seed_mode == "random":
            self.parameters = replace(self.parameters, current_seed=self._draw_seed())
        self._first = [command for command in self.preset if moves(command)]
        self.unknown = "all"

    @property
    def is_busy(self) -> bool:
        """Whether a chunk is under way."""
        return self._planned is not None

    def begin(self, sequence: int, time: float) -> LatestWins[ChunkParameters]:
        """Chunk number `sequence` gets its camera frames. Returns where the engine finds what is asked."""
        self._queue.take_for_frames(sequence)
        commands = self._queue.waiting
        plan = self._plan(commands, time)
        self._planned = _PlannedChunk(sequence, commands, plan, LatestWins(plan.asked))
        return self._planned.slot

    def submit(self, command: Command, now: float, time: float) -> list[Ack | Superseded]:
        """Queue a new command, and ask it of the chunk under way if that can still take it."""
        return self.submit_together([command], now, time)

    def submit_together(self, commands: Sequence[Command], now: float, time: float) -> list[Ack | Superseded]:
        """As `submit` in this order, but for one and the same chunk."""
        self._offer(self._queue.waiting_with(commands), time)
        return [reply for command in commands for reply in self._queue.submit(command, now)]

    def refresh(self, time: float) -> None:
        """Ask the chunk under way for what is due by now."""
        self._offer(self._queue.waiting, time)

    def next_move(self, time: float) -> float | None:
        """In how many seconds `refresh` would ask something else; None: not by itself, or there is no chunk
        under way that could take it."""
        planned = self._planned
        if planned is None or planned.is_taken:
            return None
        return planned.plan.after.next_move(time)

    def taken(self) -> Plan:
        """The engine has taken what the chunk under way is asked: its commands wait no more."""
        planned = self._chunk()
        if not planned.is_taken:
            planned.is_taken = True
            self._queue.take(planned.sequence)
        return planned.plan

    def made(self, chunk: int) -> Parameters:
        """The chunk has been made, number `chunk` since the last reset: what it changed is in effect."""
        planned = self._chunk()
        planned.is_made = True
        self.unknown, self._first = "nothing", ()
        self.parameters = planned.plan.after.made(chunk)
        return self.parameters

    def reject(self, reason: str, time: float) -> list[ErrorReply | Superseded]:
        """The model refuses what the chunk was to change. Returns what to tell those who asked for it."""
        replies = self._queue.reject(self._chunk().sequence, reason)
        self.parameters = self.parameters.without_due_step(time)
        return replies

    def lost(self) -> list[Superseded]:
        """The chunk could not be made and the stream has started afresh: its commands wait again, unless its
        first pictures were made with them."""
        planned = self._chunk()
        replies = [] if planned.is_made else self._queue.retry(planned.sequence)
        self.parameters = self.parameters.after_failure()
        return replies

    def finish(self) -> None:
        """No chunk is under way any more."""
        self._planned = None

    def recached_next(self, time: float) -> WeightedPrompts | None:
        """The prompts under which the next chunk recomputes the model's window, by what is known now."""
        return self.parameters.recached_next(self._queue.waiting, time)

    def images_in_use(self) -> frozenset[str]:
        """Ids of the uploaded pictures that are in effect, or will be if their chunk succeeds."""
        commands = [*self._queue.waiting, *(self._planned.commands if self._planned else ())]
        return self.parameters.pictures | pictures_of(commands)

    def _offer(self, commands: Sequence[Command], time: float) -> None:
        planned = self._planned
        if planned is None or planned.is_taken:
            return
        plan = self._plan(commands, time)
        if planned.slot.replace(plan.asked):
            planned.commands, planned.plan = commands, plan
        else:
            self.taken()

    def _plan(self, commands: Sequence[Command], time: float) -> Plan:
        commands = [*self._first, *commands]
        return self.parameters.plan(commands, time, self._draw_seed, self._image, unknown=self.unknown)

    def _image(self, id: str) -> Rgb:
        image = self.images.get(id)
        assert image is not None, "pictures in use are kept"
        return image

    def _chunk(self) -> _PlannedChunk:
        assert self._planned is not None, "a chunk has begun"
        return self._planned
