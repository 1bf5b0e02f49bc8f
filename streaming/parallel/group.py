"""Group of ranks: the collectives between the processes of one host, by NCCL on GPUs and gloo on CPUs.

It is no process-wide default group: a process may lead several models, and a test several groups.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import FileStore  # pyright: ignore[reportPrivateImportUsage] -- documented

LEADER = 0  # the rank that decodes and owns the streams
LOOPBACK = "127.0.0.1"  # ranks are processes of one host; nobody else is to reach them


class Group:
    """One rank's end of the group. All ranks call the same collectives in the same order, with tensors of the
    same sizes; whoever waits longer than the timeout for the others gets a RuntimeError, on GPUs only for
    what is not part of a graph.

    Nothing is summed, so everything travels as bytes, whatever its type. On a GPU the calls are part of the
    current stream, and can be part of a CUDA graph.
    """

    def __init__(
        self, rendezvous: Path, rank: int, size: int, device: torch.device, timeout_s: float
    ) -> None:
        """Waits for the other ranks. `rendezvous` is a file that does not exist yet, the same for all: unlike
        a port it is for one user."""
        self.rank, self.size = rank, size
        store = FileStore(str(rendezvous), size)
        store.set_timeout(timedelta(seconds=timeout_s))
        connected = _nccl if device.type == "cuda" else _gloo
        self._backend: Any = connected(store, rank, size, device, timedelta(seconds=timeout_s))

    def all_to_all(self, pieces: Tensor) -> Tensor:
        """pieces (R, ...): piece r is for rank r -> (R, ...), piece r is from rank r."""
        pieces = pieces.contiguous()
        received = torch.empty_like(pieces)
        self._backend.alltoall_base(_as_bytes(received), _as_bytes(pieces), [], []).wait()
        return received

    def all_gather(self, piece: Tensor) -> Tensor:
        """piece (...), of the same size in all ranks -> (R, ...)."""
        whole = piece.new_empty((self.size, *piece.shape))
        self._backend._allgather_base(_as_bytes(whole), _as_bytes(piece.contiguous())).wait()
        return whole

    def broadcast(self, tensor: Tensor) -> None:
        """The leader's values, into every rank's `tensor`, which is contiguous."""
        self._backend.broadcast(_as_bytes(tensor), LEADER).wait()

    def abort(self) -> None:
        """End what waits for a rank that is gone; the group is of no use after it. From any thread."""
        self._backend.abort()


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.view(-1).view(torch.uint8)


def _gloo(store: FileStore, rank: int, size: int, device: torch.device, timeout: timedelta) -> Any:
    # Missing in torch's stubs, and torch's own way to choose an address.
    options: Any = dist.ProcessGroupGloo._Options()  # pyright: ignore[reportAttributeAccessIssue]
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=LOOPBACK)]
    options._timeout = timeout
    return dist.ProcessGroupGloo(store, rank, size, options)


def _nccl(store: FileStore, rank: int, size: int, device: torch.device, timeout: timedelta) -> Any:
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    backend = dist.ProcessGroupNCCL(store, rank, size, options)
    backend.eager_connect_single_device(device)
    return backend
