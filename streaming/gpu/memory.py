"""Memory of the device that has run out: how to tell, and what can be given back."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this says that there is no memory, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, of a CPU


def give_back_memory(device: torch.device) -> None:
    """Let go of what torch keeps of a GPU for later: in pieces too small it is of no use to a larger one."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
