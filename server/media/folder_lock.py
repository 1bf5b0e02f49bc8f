"""Lock of a folder: one process at a time owns what lies in it, until it ends, however it ends."""

import os
import sys
from pathlib import Path

LOCK_NAME = "lock"


class FolderLock:
    """Held from its making to `release`. Raises BlockingIOError if another process holds it, and OSError.

    Windows has no such locks in the standard library: there nobody is kept out.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def is_left_behind(folder: Path) -> bool:
    """Whether a process that is gone has left this locked folder; False where that cannot be known."""
    if sys.platform == "win32" or folder.is_symlink() or not (folder / LOCK_NAME).is_file():
        return False
    try:
        FolderLock(folder).release()
    except OSError:  # in use, or somebody else's
        return False
    return folder.stat().st_uid == os.getuid()
