"""Garbage collection around what stays: not looked through again, nor a reason to put off what goes."""

import gc
import math

from server.engine.thread import gc_frozen
from tests import garbage

SOON = 2 * math.prod(gc.get_threshold())  # objects; Python's own limits, which change by its version, twice
STAYING = 6 * SOON


def test_law_after_what_stays_was_made_garbage_is_collected_soon():
    """Else it would wait for a quarter as many objects, and hold all threads for as long as they take."""
    full: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            full.append(1)

    garbage.thaw()  # what collection made
    with gc_frozen() as freezes:
        staying = [[] for _ in range(STAYING)]
    gc.callbacks.append(note)
    try:
        going = [[] for _ in range(SOON)]
    finally:
        gc.callbacks.remove(note)
        garbage.freeze()
    assert freezes and full and len(staying) + len(going) == STAYING + SOON
