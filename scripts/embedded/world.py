"""The processes that train together, each with a device of its own."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together; one without torchrun."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> "World":
        """Under torchrun one GPU a process, otherwise `device` alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, torch.device(device))
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
        dist.init_process_group("nccl", device_id=where)
        return cls(dist.get_rank(), size, where)

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()
