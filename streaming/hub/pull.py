"""Published model files: fetch, pin and check what a preset needs.

    paths = pull("longlive-1.3b", on_progress=lambda progress: logger.info(progress.describe()))
    config = PipelineConfig(base_model_name="longlive-1.3b", generator_path=str(paths["generator_path"]), ...)

Files live in the Hugging Face cache (HF_HOME, HF_HUB_CACHE) and are shared with other tools. HF_ENDPOINT
names another hub, HF_TOKEN or `hf auth login` gives access, HF_HUB_OFFLINE forbids the network.

Pinning: where `remote_files` has a commit hash, that commit is fetched and no other, and a sha256 given there
must match. A repository with a branch name instead is pinned by the first pull: its commit goes into a lock
file in the cache (`.locks/depthlive.json`: repository -> commit, files, sizes and digests), which every later
pull, `verify` and offline run obey. Delete the lock file to move on to a branch's newest commit.

Importing this module is cheap: torch is imported by `verify` alone, when it compares keys.
"""

import fnmatch
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, constants

from streaming.checkpoints.remote_files import REMOTE_FILES, RemoteFile, Role
from streaming.hub.cache import Cache, Lock, LockedFile
from streaming.hub.environment import require_usable
from streaming.hub.errors import HubError, explained
from streaming.hub.transfer import Meter, OnProgress, Progress, bytes_of, digest_of, download, readable

__all__ = [
    "REMOTE_FILES",
    "FileState",
    "HubError",
    "OnProgress",
    "Problem",
    "Progress",
    "inventory",
    "pull",
    "readable",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """What `verify` found wrong, and how to mend it."""

    file: str  # path in its repository, or the preset
    text: str


@dataclass(frozen=True, slots=True)
class FileState:
    """One file of a preset, and how much of it is here."""

    file: str  # path in its repository; may be a pattern before the first pull
    size: int | None  # bytes; None: not known before the first pull
    here: int


def pull(
    preset: str,
    *,
    without: Collection[str] = (),
    on_progress: OnProgress | None = None,
    offline: bool = False,
    cache_dir: Path | None = None,
    free_bytes: Callable[[Path], int] | None = None,
) -> dict[Role, Path]:
    """Have the files of `preset` on this machine; returns where each role lies. Nothing missing: no network.

    Roles in `without` are left out.

    Slow. An interrupted pull goes on where it stopped. `on_progress` is called from this thread a few times
    a second; an exception that it raises ends the pull and keeps what has arrived. `offline` never asks the
    network. `free_bytes` tells the free space of a folder (default: its disk's). Raises HubError.
    """
    files = tuple(file for file in _files_of(preset) if file.role not in without)
    cache = Cache(cache_dir)
    lock = cache.read_lock()
    locked = _locked_files(files, lock)
    if locked is not None and not any(cache.is_missing(file) for file in locked):
        return _paths(files, lock, cache)
    if offline or constants.HF_HUB_OFFLINE:
        state = "has not been pulled into" if locked is None else "is not complete in"
        raise HubError(
            f"{preset} {state} {cache.folder}, and this run is offline: run `depthlive models pull {preset}` "
            "once with network access, or copy that folder from a machine that has it"
        )
    require_usable()
    with cache.one_writer():
        lock = _resolve(files, cache.read_lock())
        cache.write_lock(lock)
        missing = [file for file in _locked_files(files, lock) or () if cache.is_missing(file)]
        _require_space(missing, cache, free_bytes or _free_bytes)
        meter = Meter(on_progress, sum(file.size for file in missing))
        for file in missing:
            download(file, cache, meter)
    return _paths(files, lock, cache)


def verify(
    preset: str, *, on_progress: OnProgress | None = None, cache_dir: Path | None = None, keys: bool = True
) -> list[Problem]:
    """Compare the files of `preset` with the lock: there, size, digest. Empty: all is well.

    Reads every byte, changes nothing, needs no network. `keys`: then let the models take the files on the
    meta device too, which finds a file that arrived whole but is not one this engine can read. Raises
    HubError.
    """
    files = _files_of(preset)
    if not files:
        return []
    cache = Cache(cache_dir)
    lock = cache.read_lock()
    locked = _locked_files(files, lock)
    if locked is None:
        return [Problem(preset, f"has not been pulled: run `depthlive models pull {preset}`")]
    meter = Meter(on_progress, sum(file.size for file in locked))
    problems = [problem for file in locked if (problem := _problem(file, cache, meter, preset))]
    return problems if problems or not keys else _key_problems(preset, _paths(files, lock, cache))


def inventory(preset: str, *, cache_dir: Path | None = None) -> list[FileState]:
    """What `preset` consists of, and what of it is here. No network. Raises HubError."""
    files = _files_of(preset)
    cache = Cache(cache_dir)
    locked = _locked_files(files, cache.read_lock())
    if locked is None:
        return [FileState(file.path, file.size, 0) for file in files]
    return [
        FileState(
            file.path, file.size, bytes_of(cache.partial(file)) if cache.is_missing(file) else file.size
        )
        for file in locked
    ]


def _files_of(preset: str) -> tuple[RemoteFile, ...]:
    try:
        return REMOTE_FILES[preset]
    except KeyError:
        known = ", ".join(sorted(REMOTE_FILES))
        raise HubError(f"there is no preset {preset!r}; presets: {known}") from None


def _key(file: RemoteFile) -> str:
    return f"{file.repo_id}@{file.revision}"


def _locked_files(files: Sequence[RemoteFile], lock: Lock) -> list[LockedFile] | None:
    """The locked form of `files`; None when the lock does not cover all of them."""
    found: dict[tuple[str, str], LockedFile] = {}
    for file in files:
        matching = [known for known in lock.get(_key(file), ()) if fnmatch.fnmatchcase(known.path, file.path)]
        if not matching:
            return None
        found |= {(known.repo_id, known.path): known for known in matching}
    return list(found.values())


def _paths(files: Sequence[RemoteFile], lock: Lock, cache: Cache) -> dict[Role, Path]:
    """Role -> file; several files of one role -> the folder they are in."""
    roles: dict[Role, list[RemoteFile]] = {}
    for file in files:
        roles.setdefault(file.role, []).append(file)
    paths: dict[Role, Path] = {}
    for role, own in roles.items():
        locked = _locked_files(own, lock)
        assert locked, "the lock was extended to cover all files"
        is_one_file = len(own) == 1 and own[0].path == locked[0].path
        paths[role] = cache.path_of(locked[0]) if is_one_file else cache.path_of(locked[0]).parent
    return paths


def _resolve(files: Sequence[RemoteFile], lock: dict[str, list[LockedFile]]) -> dict[str, list[LockedFile]]:
    """`lock`, extended by what it does not cover yet: one question per repository."""
    for key in dict.fromkeys(map(_key, files)):
        own = [file for file in files if _key(file) == key]
        if _locked_files(own, lock) is None:
            known = lock.get(key, [])
            fresh = _ask_hub(own, known[0].commit if known else own[0].revision)
            lock[key] = list({file.path: file for file in [*known, *fresh]}.values())
    return lock


def _ask_hub(files: Sequence[RemoteFile], revision: str) -> list[LockedFile]:
    """The files of one repository at `revision`, as the hub describes them."""
    repo_id, timeout = files[0].repo_id, constants.HF_HUB_ETAG_TIMEOUT
    with explained(repo_id, revision=revision):
        try:
            info = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=timeout)
        except (ValueError, TypeError) as error:  # no JSON, or not a repository's
            raise HubError(
                f"{constants.ENDPOINT} does not answer as a hub does; check HF_ENDPOINT and proxies"
            ) from error
    fresh: list[LockedFile] = []
    for file in files:
        matching = [there for there in info.siblings or () if fnmatch.fnmatchcase(there.rfilename, file.path)]
        if not matching:
            raise HubError(f"{constants.ENDPOINT}/{repo_id} has no file {file.path} at revision {revision}")
        for there in matching:
            digest = there.lfs.sha256 if there.lfs else there.blob_id
            if info.sha is None or there.size is None or digest is None:
                raise HubError(f"{constants.ENDPOINT} gave no commit, size or digest of {repo_id}")
            _require_published(file, there.size, digest)
            fresh.append(LockedFile(repo_id, info.sha, there.rfilename, there.size, digest))
    return fresh


def _require_published(file: RemoteFile, size: int, digest: str) -> None:
    """The hub's file must be the one that this version was made for."""
    for what, expected, got in (("size", file.size, size), ("sha256", file.sha256, digest)):
        if expected is not None and expected != got:
            raise HubError(
                f"{file.path} of {file.repo_id} is not the file this version was made for: "
                f"{what} {got}, expected {expected}"
            )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _require_space(missing: Sequence[LockedFile], cache: Cache, free_bytes: Callable[[Path], int]) -> None:
    needed = sum(max(0, file.size - bytes_of(cache.partial(file))) for file in missing)
    if (free := free_bytes(cache.folder)) < needed:
        raise HubError(
            f"not enough disk space in {cache.folder}: {readable(needed)} still to download, "
            f"{readable(free)} free. Free {readable(needed - free)}, or set HF_HOME to another disk"
        )


def _problem(file: LockedFile, cache: Cache, meter: Meter, preset: str) -> Problem | None:
    path, again = cache.path_of(file), f"run `depthlive models pull {preset}`"
    if not path.exists():
        text = f"is missing: {again}"
    elif (size := path.stat().st_size) != file.size:
        text = f"is damaged, {size} bytes instead of {file.size}: {again}"
    else:
        found = digest_of(path, file.digest, lambda done: meter.tell("check", file, done))
        text = f"is damaged, digest {found} instead of {file.digest}: delete {path.resolve()} and {again}"
        text = "" if found == file.digest else text
    meter.finish(file)
    return Problem(file.path, text) if text else None


def _key_problems(preset: str, paths: Mapping[Role, Path]) -> list[Problem]:
    """Let the models of `preset` take the files, without memory for the numbers."""
    # Not at the top: torch takes seconds to import, and whoever pulls or lists does without it.
    import torch

    from streaming.checkpoints.models import load_models
    from streaming.checkpoints.presets import find_preset
    from streaming.config import TaehvConfig

    files = {str(role): str(path) for role, path in paths.items() if role != "depth"}
    try:
        model = find_preset(preset)
        if "taehv_path" in files:  # pulled as a choice: have it looked at too
            model = replace(model, decoder=TaehvConfig())
        load_models(model, files, device=torch.device("meta"), dtype=torch.bfloat16)
    except (ValueError, RuntimeError, OSError) as error:
        return [Problem(preset, f"does not fit the model: {error}")]
    return []
