"""The Hugging Face cache of this machine, and the lock file in it that pins what was pulled."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import WeakFileLock

from streaming.hub.errors import HubError, explained


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file of one commit, as the hub described it."""

    repo_id: str
    commit: str
    path: str
    size: int  # bytes
    digest: str  # 64 digits: sha256; 40: git's blob hash, which small files have instead


Lock = Mapping[str, Sequence[LockedFile]]  # "repository@revision asked for" -> files


class Cache:
    def __init__(self, folder: Path | None) -> None:
        """`folder` None: where HF_HUB_CACHE or HF_HOME say."""
        self.folder = folder or Path(constants.HF_HUB_CACHE)
        # Beside the library's own lock files, which its tools pass over when they list the cache.
        self.lock_path = self.folder / ".locks" / "depthlive.json"

    def blob(self, file: LockedFile, name: str) -> Path:
        """Where the content called `name` lies; the cache keeps content and names apart."""
        return self.folder / f"models--{file.repo_id.replace('/', '--')}" / "blobs" / name

    def partial(self, file: LockedFile) -> Path:
        return self.blob(file, f"{file.digest}.incomplete")

    def path_of(self, file: LockedFile) -> Path:
        return self.blob(file, "").parent / "snapshots" / file.commit / file.path

    def is_missing(self, file: LockedFile) -> bool:
        """Not there, or not of the right size."""
        found = try_to_load_from_cache(file.repo_id, file.path, cache_dir=self.folder, revision=file.commit)
        return not isinstance(found, str) or Path(found).stat().st_size != file.size

    def read_lock(self) -> dict[str, list[LockedFile]]:
        with explained("the lock file"):
            if not self.lock_path.exists():
                return {}
            text = self.lock_path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
            return {key: [LockedFile(**file) for file in files] for key, files in content.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise HubError(f"{self.lock_path} is damaged ({error}): delete it and pull again") from error

    def write_lock(self, lock: Lock) -> None:
        content = {key: [asdict(file) for file in files] for key, files in lock.items()}
        new = self.lock_path.with_suffix(".new")
        with explained("the lock file"):
            new.write_text(json.dumps(content, indent=1), encoding="utf-8")
            new.replace(self.lock_path)

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        """Two processes that append to one partial file would spoil it: the second waits, finds it done."""
        with explained("the lock file"):
            self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.lock_path.with_suffix(".lock")):
            yield
