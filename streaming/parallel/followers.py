"""Followers of a leader, as it sees them: processes that are told what to do, and may die."""

import contextlib
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from streaming.parallel.group import Group
from streaming.parallel.message import Message

NOTICED_S = 5.0  # a process that has ended is known to have within this time; nobody waits for it otherwise
LEFT_S = 5.0  # for followers to end by themselves


class RankLost(RuntimeError):
    """A rank can do no more work, and with it none of the others; only a new start helps."""


class Followers:
    """What the leader's thread calls; ranks are counted from 1."""

    def __init__(
        self,
        processes: Sequence[BaseProcess],
        pipes: Sequence[Connection],
        group: Group,
        folder: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        """`folder` has what the group may look at as long as it lives."""
        self.processes, self.pipes = processes, pipes
        self._lost: RankLost | None = None
        self._ended = threading.Event()  # one of them has
        self._close = weakref.finalize(self, end, processes, pipes, folder)
        watch = threading.Thread(
            target=_watch, args=(processes, self._ended, group), name="ranks", daemon=True
        )
        watch.start()

    def tell(self, message: Message) -> None:
        """Raises RankLost."""
        self.check()
        data = message.packed()
        try:
            for pipe in self.pipes:
                pipe.send_bytes(data)
        except OSError as error:
            raise self.lose(error) from error

    def check(self) -> None:
        """Raises RankLost if one is gone."""
        if self._lost is not None:
            raise self._lost
        if self._ended.is_set():
            raise self.lose(None)

    def lose(self, error: BaseException | None) -> RankLost:
        """What is to be raised after `error`, or the end of one of them; nothing is asked of any after it."""
        if self._lost is None:
            if isinstance(error, RuntimeError | OSError):  # most likely because one of them has ended
                self._ended.wait(NOTICED_S)
            ended = wait([process.sentinel for process in self.processes], timeout=0)
            for process in self.processes:
                if process.sentinel in ended:
                    process.join(NOTICED_S)  # its files are closed a little before it has an exit code
            self._lost = RankLost(f"{self._what_happened(error)}; restart the server, or use fewer GPUs")
            self.close()
        return self._lost

    def close(self) -> None:
        """End them. Safe to call twice."""
        self._close()

    def _what_happened(self, error: BaseException | None) -> str:
        ended = [
            (rank, one.exitcode) for rank, one in enumerate(self.processes, 1) if one.exitcode is not None
        ]
        killed = [(rank, code) for rank, code in ended if code < 0]
        size = len(self.processes) + 1
        if killed:  # what the others say then follows from it
            return ", ".join(f"rank {rank} of {size} was ended by signal {-code}" for rank, code in killed)
        if ended:
            return ", ".join(f"rank {rank} of {size} has failed: {self._said(rank)}" for rank, _ in ended)
        return f"the {size} ranks are not at the same place any more: {error}"

    def _said(self, rank: int) -> str:
        """A follower's last words: why it ends."""
        with contextlib.suppress(EOFError, OSError):
            if self.pipes[rank - 1].poll():
                return self.pipes[rank - 1].recv_bytes().decode(errors="replace")
        return f"exit code {self.processes[rank - 1].exitcode}, see its output"


def _watch(processes: Sequence[BaseProcess], ended: threading.Event, group: Group) -> None:
    """Until one of them has ended: on a GPU, kernels that wait for it would wait for ever."""
    wait([process.sentinel for process in processes])
    ended.set()
    group.abort()


def end(
    processes: Sequence[BaseProcess],
    pipes: Sequence[Connection],
    folder: "tempfile.TemporaryDirectory[str]",
) -> None:
    """Followers whose pipe ends leave; those that do not in time are made to."""
    for pipe in pipes:  # they read to its end
        pipe.close()
    until = time.monotonic() + LEFT_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
    folder.cleanup()
