"""Addresses of the other side that aioice tries: those that a rule allows, hidden ones once they are known.

aioice sends checks to whatever a candidate names. A name of mDNS is looked up within it, so that only there
it is known which address is meant. `test_candidate_addresses.py` fails if a later aioice adds candidates in
another way.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from aioice.candidate import Candidate
from aioice.ice import Connection

_may_be_tried: ContextVar[Callable[[str], bool] | None] = ContextVar("may_be_tried", default=None)


@contextmanager
def candidates_only_at(may_be_tried: Callable[[str], bool]) -> Generator[None]:
    """While this lasts, candidates at other addresses are passed over, also in tasks that begin meanwhile."""
    token = _may_be_tried.set(may_be_tried)
    try:
        yield
    finally:
        _may_be_tried.reset(token)


_connection: Any = Connection
_add = _connection._add_remote_candidate


def _add_if_allowed(connection: Connection, candidate: Candidate, network_host: str) -> None:
    may_be_tried = _may_be_tried.get()
    if may_be_tried is None or may_be_tried(network_host):
        _add(connection, candidate, network_host)


_connection._add_remote_candidate = _add_if_allowed
