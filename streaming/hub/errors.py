"""Errors between a hub and the disk, in words that a user can act on."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# What the library's HTTP client raises: httpx in its version 1, httpx2 in 2. Named so that both fit.
HttpError: type[Exception] = HfHubHTTPError.__bases__[0]


class HubError(OSError):
    """Model files that cannot be had or used; the text says why, and what to do about it."""


@contextmanager
def explained(repo_id: str, path: str | None = None, revision: str | None = None) -> Iterator[None]:
    """Turn what the library, the network or the disk raises inside into HubError."""
    try:
        yield
    except HubError:
        raise
    except (HttpError, OSError) as error:
        raise HubError(_explain(error, repo_id, path, revision)) from error


def _explain(error: Exception, repo_id: str, path: str | None, revision: str | None) -> str:
    """Never quotes the library's texts of HTTP errors: they hold signed addresses."""
    where = f"{constants.ENDPOINT}/{repo_id}"
    match error:
        case GatedRepoError():
            return (
                f"{where} is gated: accept its terms there, log in with `hf auth login` (or set HF_TOKEN), "
                "then pull again"
            )
        case RevisionNotFoundError():
            return f"{where} has no revision {revision} (any more, or not on this mirror)"
        case EntryNotFoundError():
            return f"{where} has no file {path} at revision {revision}"
        case HfHubHTTPError():
            return _explain_status(error, where)
        case OfflineModeIsEnabled():
            return f"{where} is needed, and HF_HUB_OFFLINE forbids the network"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"the disk became full while {path or repo_id} was written; what has arrived is kept. "
                "Free some space, or set HF_HOME to a folder on another disk, and pull again"
            )
        case OSError(filename=str()):
            return f"the cache cannot be used ({error}); set HF_HOME to a folder of your own"
        case _:
            reason = str(error) or type(error).__name__
            return (
                f"cannot reach {constants.ENDPOINT} ({reason}): check the network, or name a proxy "
                "(HTTPS_PROXY) or a mirror (HF_ENDPOINT). What has arrived is kept; pull again to go on"
            )


def _explain_status(error: HfHubHTTPError, where: str) -> str:
    status = error.response.status_code
    if status == 401:
        return (
            f"{where} refuses access (401): it does not exist, or is private, or the access token is wrong "
            "or has expired; log in with `hf auth login` or correct HF_TOKEN"
        )
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return f"{where} does not exist (404)"
    if status == 403:
        return f"{where} refuses access (403): the access token does not reach it"
    if status == 429:
        return f"{where} is asked too often (429): wait, or log in with `hf auth login`; then pull again"
    return f"{where} answered {status}: the hub has trouble; what has arrived is kept, pull again later"
