"""Garbage collection in tests: what was imported and made so far is left out, or not.

Whoever starts a server asks whether anything is frozen, and Python then counts a million objects one by one,
0.1 s in which all threads stand still. So `freeze` gives the answer.
"""

import gc

_count = gc.get_freeze_count


def freeze() -> None:
    """Leave out all there is, else Python's garbage collector would look through it again and again."""
    gc.freeze()
    gc.get_freeze_count = lambda: 1


def thaw() -> None:
    """As in a process of the server when it starts."""
    gc.unfreeze()
    gc.get_freeze_count = _count
