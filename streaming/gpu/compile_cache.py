"""The folder of compiled parts, kept for the next start: this user's own, since what lies there is run."""

import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)


def compile_cache(chosen: Path | None) -> Path | None:
    """`chosen`, or `depthlive` in the user's cache folder; made if need be, and writable.

    None, with a warning, where the user's own cannot be written: parts are compiled at every start then.
    Raises OSError when `chosen` cannot be.
    """
    try:
        folder = cache_folder(chosen)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows where home is
        if chosen is not None:
            raise OSError(f"cache_dir: {chosen} cannot be written ({error})") from error
        logger.warning("Compiled parts are not kept (%s): every start compiles. Set cache_dir", error)
        return None


def cache_folder(chosen: Path | None) -> Path:
    """Where that is, there or not. Raises RuntimeError where nobody knows where home is."""
    return chosen or _user_caches() / "depthlive"


def _user_caches() -> Path:
    """As the platform has it. A relative path is ignored, as XDG asks."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if (folder := Path(os.environ.get(name, ""))).is_absolute():
            return folder
    return Path.home() / ".cache"
