"""Bytes from a hub to the cache: taken up where they stopped, counted as they come, checked at the end."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from streaming.hub.cache import Cache, LockedFile
from streaming.hub.errors import HttpError, HubError, explained

ATTEMPTS = 5  # at a file of which nothing more arrives
RETRY_WAIT_S = 1.0  # before the second attempt; grows by itself with each further one
PASSING_TROUBLE = (408, 429, 500, 502, 503, 504)  # HTTP statuses
PROGRESS_EVERY_S = 0.2
BLOCK = 2**20  # bytes between two looks at the clock

Stage = Literal["download", "check"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull, or a check, has come; all counts in bytes."""

    stage: Stage
    file: str  # path in its repository
    done: int
    total: int
    all_done: int  # of everything that this call has to do
    all_total: int

    def describe(self) -> str:
        """Plain words, for a log or the page."""
        what = "downloading" if self.stage == "download" else "checking"
        percent = 100 * self.all_done // max(1, self.all_total)
        return (
            f"{what} {self.file.rpartition('/')[2]}: {readable(self.done)} of {readable(self.total)} "
            f"({percent} % of {readable(self.all_total)})"
        )


OnProgress = Callable[[Progress], None]


def readable(count: int) -> str:
    """Decimal units, as disks and downloads are sold."""
    return f"{count / 1e9:.2f} GB" if count >= 10_000_000 else f"{count / 1e6:.2f} MB"


class Meter:
    """Bytes -> `Progress`, not more often than anybody can read."""

    def __init__(self, on_progress: OnProgress | None, all_total: int) -> None:
        self._on_progress = on_progress
        self._all_total = all_total
        self._finished = 0  # bytes of the files that are done
        self._told_at = float("-inf")

    def tell(self, stage: Stage, file: LockedFile, done: int, *, counted: int | None = None) -> None:
        """`done` bytes of `file`; `counted` of them belong to the whole (default: all of them)."""
        now = time.monotonic()
        if self._on_progress and (done == file.size or now - self._told_at >= PROGRESS_EVERY_S):
            self._told_at = now
            all_done = self._finished + (done if counted is None else counted)
            self._on_progress(Progress(stage, file.path, done, file.size, all_done, self._all_total))

    def finish(self, file: LockedFile) -> None:
        self._finished += file.size


def download(file: LockedFile, cache: Cache, meter: Meter) -> None:
    """Fetch one file into the cache, whole and checked. Raises HubError.

    The library's own download would begin anew: since its version 2 it deletes what an interrupted one has
    brought. So the bytes are fetched here, to where the library looks for them, and it adds the rest.
    """
    with explained(file.repo_id, file.path, file.commit):
        url = hf_hub_url(file.repo_id, file.path, revision=file.commit)
        etag = get_hf_file_metadata(url).etag
        if etag is None:
            raise HubError(f"{constants.ENDPOINT} gave no ETag for {file.path}; is a proxy in between?")
        blob = cache.blob(file, etag)
        if blob.exists() and blob.stat().st_size != file.size:
            blob.unlink()
        if not blob.exists():
            blob.parent.mkdir(parents=True, exist_ok=True)
            _fetch(url, file, cache.partial(file), meter)
            _require_digest(file, cache.partial(file), meter)
            cache.partial(file).replace(blob)
        meter.finish(file)
        hf_hub_download(file.repo_id, file.path, revision=file.commit, cache_dir=cache.folder)


def digest_of(path: Path, like: str, tell: Callable[[int], None]) -> str:
    """sha256 of a file, or git's blob hash where `like` is one; `tell` hears the bytes read so far."""
    digest = hashlib.sha256()
    if len(like) == 40:
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    done = 0
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
            done += len(block)
            tell(done)
    return digest.hexdigest()


def bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, file: LockedFile, partial: Path, meter: Meter) -> None:
    """Append to `partial` until it has the size of `file`; a connection that breaks is taken up again."""
    failures = 0
    while (have := bytes_of(partial)) < file.size:
        try:
            _append(url, file, partial, meter)
        except HttpError as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code not in PASSING_TROUBLE:
                raise
            failures = 1 if bytes_of(partial) > have else failures + 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(RETRY_WAIT_S * failures)


def _append(url: str, file: LockedFile, partial: Path, meter: Meter) -> None:
    # Compressed bytes could neither be counted nor continued.
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={bytes_of(partial)}-"}
    headers |= build_hf_headers()
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        continues = response.status_code == 206  # else the server begins anew
        with partial.open("ab" if continues else "wb") as out:
            for block in response.iter_bytes(BLOCK):
                out.write(block)
                meter.tell("download", file, out.tell())


def _require_digest(file: LockedFile, partial: Path, meter: Meter) -> None:
    found = digest_of(partial, file.digest, lambda done: meter.tell("check", file, done, counted=file.size))
    if found != file.digest:
        partial.unlink()
        raise HubError(
            f"{file.path} of {file.repo_id} arrived damaged: digest {found}, expected {file.digest}. It has "
            "been deleted; pull again. If that happens twice, something on the way changes the bytes"
        )
