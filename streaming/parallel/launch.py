"""Launch of ranks: the leader's process starts the others, which follow it and end with it.

Plain processes of the standard library are enough: what torch.multiprocessing adds is tensors that are sent
through pipes, and here none are.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from streaming.parallel.followers import LEFT_S, Followers, RankLost, end
from streaming.parallel.group import LEADER, Group
from streaming.parallel.message import SIZE, Message
from streaming.parallel.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

GROUP_TIMEOUT_S = 60.0  # for a rank that the others wait for; kernels are compiled within it at a start
JOINING_S = 600.0  # for a follower to import libraries, on a machine that has other things to do
LOADING_S = 1800.0  # for a follower to load its weights
# What the environment sets goes before. NCCL's own connections stay on this host; NVLink's multicast is off,
# which fails on hosts that lend out some of their GPUs.
NCCL = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_NVLS_ENABLE": "0"}

# What a follower does in its process: get ready, say so, do what the messages say, return when they end.
Follow = Callable[[Ranks, torch.device, Callable[[], None], Iterator[Message]], None]

_READY = b"ready"  # a follower's word; whatever else it says is why it ends


@contextmanager
def launched(
    size: int, device_type: str, follow: Follow, timeout_s: float = GROUP_TIMEOUT_S
) -> Iterator[Ranks]:
    """The leader's ranks, of which the others are loading meanwhile. With a size of 1 nothing is started.

    with launched(size, "cuda", follow) as ranks:
        ...                                      # the leader loads
    ...                                          # all are ready

    `follow` goes to other processes: a function of a module, or a `partial` of one. This process is rank 0,
    on the first device. Followers end with it, or once nobody has `ranks.followers` any more. Raises RankLost
    when one of them cannot start or load.
    """
    if size == 1:
        yield ALONE
        return
    for name, value in NCCL.items():
        os.environ.setdefault(name, value)
    folder = tempfile.TemporaryDirectory(prefix="ranks-")
    place = _Place(size, device_type, Path(folder.name, "rendezvous"), timeout_s)
    with ExitStack() as undo:
        processes, pipes = list[BaseProcess](), list[Connection]()
        undo.callback(end, processes, pipes, folder)
        _start(place, follow, processes, pipes)
        _hear(processes, pipes, JOINING_S)
        group = place.group(LEADER)
        yield Ranks(size, LEADER, group, Followers(processes, pipes, group, folder))
        _hear(processes, pipes, LOADING_S)
        undo.pop_all()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the ranks come together."""

    size: int
    device_type: str
    rendezvous: Path
    timeout_s: float

    def device(self, rank: int) -> torch.device:
        return torch.device("cuda", rank) if self.device_type == "cuda" else torch.device(self.device_type)

    def group(self, rank: int) -> Group:
        return Group(self.rendezvous, rank, self.size, self.device(rank), self.timeout_s)


def _start(place: _Place, follow: Follow, processes: list[BaseProcess], pipes: list[Connection]) -> None:
    """Add followers, and the leader's ends of pipes to them."""
    context = multiprocessing.get_context("spawn")  # what has used CUDA cannot be forked
    for rank in range(1, place.size):
        mine, theirs = context.Pipe()
        process = context.Process(
            target=_follower, args=(place, rank, theirs, follow), name=f"rank {rank}", daemon=True
        )
        process.start()
        theirs.close()  # so that its end of the pipe ends with it
        processes.append(process)
        pipes.append(mine)


def _hear(processes: Sequence[BaseProcess], pipes: Sequence[Connection], seconds: float) -> None:
    """One word of each follower. Raises RankLost for another word than that it is ready."""
    until = time.monotonic() + seconds
    for rank, (process, pipe) in enumerate(zip(processes, pipes, strict=True), 1):
        words = b""
        if pipe.poll(max(0.0, until - time.monotonic())):  # the end of the pipe too
            with contextlib.suppress(EOFError, OSError):
                words = pipe.recv_bytes()
            if words == _READY:
                continue
            process.join(LEFT_S)
        said = words.decode(errors="replace") or f"it said nothing, exit code {process.exitcode}"
        raise RankLost(f"rank {rank} of {len(processes) + 1} could not start: {said}")


def _follower(place: _Place, rank: int, pipe: Connection, follow: Follow) -> None:
    """Life of a follower's process."""
    # Ctrl-C reaches all processes of a terminal: the leader ends in order, and the others with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 0
    try:
        if place.device_type == "cuda":
            torch.cuda.set_device(rank)
        pipe.send_bytes(_READY)
        ranks = Ranks(place.size, rank, place.group(rank))
        follow(ranks, place.device(rank), lambda: pipe.send_bytes(_READY), _messages(pipe))
    except BaseException as error:  # whatever it is, the process ends with it, and its leader is to know
        code = 1
        _say_why(rank, pipe, error)
    os._exit(code)  # an ordinary end would wait for kernels that wait for a rank which may be gone


def _say_why(rank: int, pipe: Connection, error: BaseException) -> None:
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():  # then that is why, and nobody listens
        return
    logger.error("Rank %d has failed", rank, exc_info=error)
    with contextlib.suppress(OSError):
        pipe.send_bytes(f"{type(error).__name__}: {error}".encode())


def _messages(pipe: Connection) -> Iterator[Message]:
    """Until the leader closes its end, or is gone. There is no hurry: streams may be paused for hours."""
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            yield Message.unpacked(pipe.recv_bytes(SIZE))
