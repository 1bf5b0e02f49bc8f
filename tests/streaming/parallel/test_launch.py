"""Laws of the ranks' processes: none is left, none hangs, and what happened to one is told."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import torch

from streaming.parallel.followers import RankLost
from streaming.parallel.launch import launched
from streaming.parallel.message import Kind, Message
from streaming.parallel.ranks import ALONE, Ranks

PASS, FAIL = Message(Kind.PASS), Message(Kind.DROP)


def gathers(
    ranks: Ranks, device: torch.device, ready: Callable[[], None], messages: Iterator[Message]
) -> None:
    """One collective for every message, until it is told to fail."""
    ready()
    for message in messages:
        if message == FAIL and ranks.rank == 1:
            raise ValueError("weights are gone")
        gather(ranks)


def gather(ranks: Ranks) -> list[float]:
    return ranks.gather(torch.full((1, 1, 1), float(ranks.rank)), (1, 1, ranks.size)).flatten().tolist()


def cannot_load(
    ranks: Ranks, device: torch.device, ready: Callable[[], None], messages: Iterator[Message]
) -> None:
    raise ValueError(f"generator_path: no such file, rank {ranks.rank}")


def killed_while_it_leads() -> None:
    """Of a process of its own."""
    with launched(2, "cpu", gathers) as ranks:
        pass
    with ranks.told(PASS):
        gather(ranks)
    print("led", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def lose_in_a_collective(ranks: Ranks, message: Message) -> str:
    with pytest.raises(RankLost) as lost, ranks.told(message):
        gather(ranks)
    assert ranks.followers is not None
    assert all(process.exitcode is not None for process in ranks.followers.processes), "none is left"
    with pytest.raises(RankLost, match="restart the server") as again:
        ranks.check()
    assert str(again.value) == str(lost.value)
    return str(lost.value)


def test_a_rank_that_is_killed_is_named_and_takes_the_others_with_it() -> None:
    """It stands still before, so that the leader waits for it."""
    with launched(3, "cpu", gathers) as ranks:
        pass
    with ranks.told(PASS):
        assert gather(ranks) == [0, 1, 2]
    assert ranks.followers is not None
    second = ranks.followers.processes[1]
    assert second.pid is not None
    os.kill(second.pid, signal.SIGSTOP)
    killer = subprocess.Popen([sys.executable, "-c", f"import os; os.kill({second.pid}, {signal.SIGKILL})"])
    said = lose_in_a_collective(ranks, PASS)
    assert killer.wait() == 0
    assert said.startswith("rank 2 of 3 was ended by signal 9")


def test_an_interrupt_of_a_terminal_ends_no_follower_before_its_leader() -> None:
    with launched(2, "cpu", gathers) as ranks:
        pass
    assert ranks.followers is not None and ranks.followers.processes[0].pid is not None
    os.kill(ranks.followers.processes[0].pid, signal.SIGINT)
    with ranks.told(PASS):
        assert gather(ranks) == [0, 1]


def test_a_rank_that_fails_says_why() -> None:
    with launched(2, "cpu", gathers) as ranks:
        pass
    assert "rank 1 of 2 has failed: ValueError: weights are gone" in lose_in_a_collective(ranks, FAIL)


def test_what_fails_in_the_leader_half_way_ends_all() -> None:
    """Followers would wait for it in the midst of a pass."""
    with launched(2, "cpu", gathers) as ranks:
        pass
    with pytest.raises(RankLost, match="not at the same place any more: no memory"), ranks.told(PASS):
        raise MemoryError("no memory")
    assert ranks.followers is not None
    assert wait([ranks.followers.processes[0].sentinel])


def test_a_rank_that_cannot_load_is_told_with_its_reason() -> None:
    held: list[Ranks] = []
    with pytest.raises(RankLost, match="rank 1 of 2 could not start: ValueError: generator_path: no such"):
        with launched(2, "cpu", cannot_load) as ranks:
            held.append(ranks)
    assert held[0].followers is not None
    assert held[0].followers.processes[0].exitcode is not None


def test_followers_end_with_a_leader_that_is_killed(tmp_path: Path) -> None:
    """All of them have its output, which ends with the last."""
    code = f"from {__name__} import killed_while_it_leads; killed_while_it_leads()"
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # it cannot clear up
    leader = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (leader.returncode, leader.stdout) == (-signal.SIGKILL, "led\n"), leader.stderr


def test_one_rank_starts_nothing() -> None:
    with launched(1, "cpu", cannot_load) as ranks:
        assert ranks is ALONE
    x = torch.ones(1, 6, 2, 4)
    assert ranks.scatter(x, (1, 2, 3)) is x and ranks.gather(x, (1, 2, 3)) is x
    assert ranks.to_tokens((1, 2, 3), x, 2) is x and ranks.to_heads((1, 2, 3), x)[0] is x


@pytest.mark.parametrize("kind", Kind)
def test_a_message_comes_as_it_was_sent(kind: Kind) -> None:
    message = Message(kind, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, True, 937.5)
    assert Message.unpacked(message.packed()) == message


@pytest.mark.parametrize("data", [b"", b"x" * 7, Message(Kind.PASS).packed() + b"x", b"\x00" * 74])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Message.unpacked(data)
