"""Lease tokens: by which a worker knows that a place of it was leased, to whom, and takes each once."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from pydantic import BaseModel, Field, ValidationError

from server.access.tokens import ALGORITHM, MIN_SECRET_BYTES, NAME, SESSION, Grant, Role
from server.placement.port import Lease, Orders

AUDIENCE = "depthlive-lease"  # no token of users has it: one secret may sign both kinds
MAX_TOKEN_LENGTH = 4096
MAX_USED = 10_000  # leases that are remembered until their time is over


class LeaseRefused(Exception):
    """The text says why, and holds nothing of the token."""


class _Claims(BaseModel):
    """With the names of RFC 7519 where it has them."""

    aud: str
    jti: str = Field(min_length=1, max_length=64)
    exp: float = Field(allow_inf_nan=False)
    worker: str
    start: str
    epoch: str
    session: str = Field(pattern=f"^{SESSION}$")
    goes_on: bool
    network: str
    sub: str | None = Field(None, pattern=f"^{NAME}$")
    role: Role | None = None
    only: str | None = Field(None, pattern=f"^{SESSION}$")
    until: float | None = Field(None, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedPlace:
    """What a lease token tells. `goes_on`: the session is one that was named by who asked, else one that
    begins. `grant`: of who was let in, with the end of its own token; None where nobody
    needs one. `expires_at`: Unix time until which the lease may be taken up."""

    id: str
    worker: str
    start: str
    epoch: str
    session: str
    goes_on: bool
    network: str
    grant: Grant | None
    expires_at: float


class LeaseTokens:
    """Signed by a secret that the workers and those who let clients in share."""

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for a short secret."""
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"secret: expected at least {MIN_SECRET_BYTES} bytes, got {len(secret)}")
        self._secret = secret

    def make(self, lease: Lease, network: str, grant: Grant | None, now: float, *, goes_on: bool) -> str:
        """Of a lease that begins now, in Unix time. `goes_on`: the client has named the session."""
        claims = _Claims(
            aud=AUDIENCE,
            jti=secrets.token_urlsafe(16),
            exp=now + lease.ttl,
            worker=lease.worker,
            start=lease.start,
            epoch=lease.epoch,
            session=lease.session,
            goes_on=goes_on,
            network=network,
            sub=grant and grant.name,
            role=grant and grant.role,
            only=grant and grant.session,
            until=grant and grant.expires,
        )
        return jwt.encode(claims.model_dump(exclude_none=True), self._secret, ALGORITHM)

    def read(self, token: str) -> LeasedPlace:
        """What it tells, whether or not its time is over. Raises LeaseRefused for what is none."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise LeaseRefused(f"lease: expected at most {MAX_TOKEN_LENGTH} characters, got {len(token)}")
        try:
            # Its end is looked at by the gate, by its clock.
            options = {"verify_exp": False, "require": ["aud", "exp", "jti"]}
            claims = _Claims.model_validate(
                jwt.decode(token, self._secret, [ALGORITHM], audience=AUDIENCE, options=options)  # pyright: ignore[reportArgumentType] -- a TypedDict
            )
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise LeaseRefused("lease: this is none of this cluster") from error
        grant = None
        if claims.sub is not None and claims.role is not None:
            grant = Grant(claims.sub, claims.role, claims.only, claims.until)
        return LeasedPlace(
            id=claims.jti,
            worker=claims.worker,
            start=claims.start,
            epoch=claims.epoch,
            session=claims.session,
            goes_on=claims.goes_on,
            network=claims.network,
            grant=grant,
            expires_at=claims.exp,
        )


class LeaseGate:
    """A worker's: who comes must have a lease of this process, of its newest registration, not used before.

    gate = LeaseGate(LeaseTokens(secret), "worker-1", start)
    gate.hear(await placement.heartbeat(report))  # of each report, which names gate.epoch
    place = gate.check(token)                     # while the offer is read
    gate.take(place)                              # with nothing awaited between this and the session's start
    """

    def __init__(
        self,
        tokens: LeaseTokens,
        worker: str,
        start: str,
        *,
        on_freed: Callable[[str, bool], None] = lambda session, was_used: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_freed` is told each session whose place is free again, and whether it ever had a camera:
        for `Placement.release`. `clock` gives Unix time."""
        self.worker, self.start = worker, start
        self.epoch = ""
        self.is_draining = False
        self.on_freed = on_freed
        self._tokens = tokens
        self._clock = clock
        self._used: dict[str, float] = {}  # until when, by the lease's id

    def hear(self, orders: Orders) -> bool:
        """What the placement says of a report. True for a new registration: report again at once."""
        is_new = orders.epoch != self.epoch
        self.epoch = orders.epoch
        self.is_draining = self.is_draining or orders.drain
        return is_new

    def check(self, token: str | None) -> LeasedPlace:
        """The place, as long as it can be taken up. Raises LeaseRefused, for None too."""
        if token is None:
            raise LeaseRefused("lease: expected one, which the gateway gives; come through it")
        place = self._tokens.read(token)
        self._check(place)
        return place

    def take(self, place: LeasedPlace) -> None:
        """Once. Raises LeaseRefused, too, where things have changed since `check`."""
        self._check(place)
        now = self._clock()
        if len(self._used) >= MAX_USED:
            self._used = {id: until for id, until in self._used.items() if until > now}
            if len(self._used) >= MAX_USED:
                raise LeaseRefused("lease: too many are being taken up; ask for another place")
        self._used[place.id] = place.expires_at

    def _check(self, place: LeasedPlace) -> None:
        if (place.worker, place.start) != (self.worker, self.start):
            raise LeaseRefused("lease: it is for another worker, or for a process that has ended")
        if place.epoch != self.epoch:
            raise LeaseRefused("lease: it is void, for the placement began anew; ask for another place")
        if self.is_draining:
            raise LeaseRefused("lease: this worker drains; ask for another place")
        if self._clock() >= place.expires_at:
            raise LeaseRefused("lease: its time is over; ask for another place")
        if place.id in self._used:
            raise LeaseRefused("lease: it has been used; ask for another place")
