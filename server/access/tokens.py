"""Tokens: who somebody is and what he may do, signed with a secret or listed in a file."""

import hashlib
import hmac
import itertools
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import jwt
from pydantic import BaseModel, Field, ValidationError

from server.access.errors import UnusableAccess
from server.access.validity import EXPIRED, LOGGED_OUT, EndedLogins, Login, Validity
from server.settings import Settings

Role = Literal["publish", "control", "view", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

ALGORITHM = "HS256"
MIN_SECRET_BYTES = 32  # of HS256 (RFC 7518, 3.2)
MIN_TOKEN_LENGTH = 16
COOKIE_SECONDS = 12 * 3600
RELAY_SECONDS = 60  # from a gateway to a worker
NAME = r"[A-Za-z0-9_.@-]{1,64}"
SESSION = r"[A-Za-z0-9_-]{1,64}"
LINE = "NAME ROLE TOKEN [session=ID] [expires=2030-12-31T00:00:00Z]"


class TokenRefused(Exception):
    """The text says why, and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows. `name`: whose it is; sessions belong to names. `session`: the one that it is for,
    None for any. `expires`: Unix time, None for never. `login`: of the cookie that it came by."""

    name: str
    role: Role
    session: str | None = None
    expires: float | None = None
    login: Login | None = None

    def check_time(self, now: float) -> None:
        """Raises TokenRefused once its time is over."""
        if self.expires is not None and now >= self.expires:
            raise TokenRefused(EXPIRED)


class _Claims(BaseModel):
    """Of a signed token, with the names of RFC 7519 where it has them; others are passed over."""

    sub: str = Field(pattern=f"^{NAME}$")
    role: Role
    session: str | None = Field(None, pattern=f"^{SESSION}$")
    exp: float | None = Field(None, allow_inf_nan=False)
    # Of cookies, which end after some hours, and of relayed tokens, after a minute; the token that they stand
    # for may outlast them.
    depthlive_login: int | None = None
    depthlive_token_exp: float | None = Field(None, allow_inf_nan=False)


class SignedTokens:
    """JSON Web Tokens of one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, grant: Grant, **more: Any) -> str:
        """`more`: further claims, or others than the grant's."""
        told = {"sub": grant.name, "role": grant.role, "session": grant.session, "exp": grant.expires}
        claims = _Claims.model_validate(told | more)
        return jwt.encode(claims.model_dump(exclude_none=True), self._secret, ALGORITHM)

    def read(self, token: str, now: float) -> Grant:
        """Raises TokenRefused."""
        return self.read_claims(token, now)[0]

    def read_claims(self, token: str, now: float) -> tuple[Grant, "_Claims"]:
        """The claims, too. Raises TokenRefused."""
        try:
            # Its end is looked at below, by our clock.
            raw = jwt.decode(token, self._secret, [ALGORITHM], options={"verify_exp": False})
            claims = _Claims.model_validate(raw)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise TokenRefused("the token is not one of this server") from error
        grant = Grant(claims.sub, claims.role, claims.session, claims.exp)
        grant.check_time(now)
        return grant, claims


class StaticTokens:
    """Tokens of a file. Their digests are compared, with all of them each time: the time that it takes tells
    nothing."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Raises UnusableAccess, with the number of the line and nothing of its token."""
        self._grants: list[tuple[bytes, Grant]] = []  # by the digest of the token
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                self._grants.append(_entry(number, line.split()))

    def __len__(self) -> int:
        return len(self._grants)

    def read(self, token: str, now: float) -> Grant | None:
        """None for an unknown one. Raises TokenRefused for one whose time is over."""
        digest, found = _digest(token), None
        for other, grant in self._grants:
            if hmac.compare_digest(digest, other):
                found = grant
        if found is not None:
            found.check_time(now)
        return found


class Tokens:
    """Every token of this server, the cookies that stand for them in a browser, and the relayed tokens that
    stand for them on the way from a gateway of a cluster to its workers."""

    def __init__(
        self,
        secret: bytes | None,
        lines: Sequence[str],
        shared: bytes | None = None,
        *,
        relays: bool = False,
    ) -> None:
        """`shared`: a secret of the cluster that this process is a part of: as a gateway, which makes relayed
        tokens and takes none (`relays`), for they would never end; else as a worker, which takes them."""
        self._static = StaticTokens(lines)
        self._signed = SignedTokens(secret) if secret is not None else None
        self._relayed = SignedTokens(_derived(shared, "relayed")) if shared is not None else None
        self._relays = relays
        if shared is None:
            # Of this process alone: another would not know who has logged out, nor which tokens were taken
            # away.
            self.ended = EndedLogins()
            self._login_number: Callable[[], int] = itertools.count(1).__next__
            self._cookies = SignedTokens(secrets.token_bytes(MIN_SECRET_BYTES))
        else:  # of all that have the same tokens, and tell each other of logouts
            self.ended = EndedLogins(login_number())
            self._login_number = login_number
            whose = hashlib.sha256(b"\n".join((secret or b"", *map(str.encode, lines)))).hexdigest()
            self._cookies = SignedTokens(_derived(shared, f"cookies {whose}"))

    @classmethod
    def load(
        cls, settings: Settings, shared: bytes | None = None, *, relays: bool = False
    ) -> "Tokens | None":
        """As the settings say; None if nobody needs a token. Raises UnusableAccess."""
        if settings.auth_secret_file is None and settings.auth_tokens_file is None:
            return None
        secret = read_secret(settings.auth_secret_file) if settings.auth_secret_file else None
        lines = _read(settings.auth_tokens_file, "auth_tokens_file") if settings.auth_tokens_file else ""
        tokens = cls(secret, lines.splitlines(), shared, relays=relays)
        if secret is None and not len(tokens._static):
            raise UnusableAccess(f"auth_tokens_file: {settings.auth_tokens_file} is empty; expected {LINE}")
        return tokens

    def read(self, token: str) -> Grant:
        """What it allows now. Raises TokenRefused, for relayed ones, too."""
        now = time.time()
        if (grant := self._static.read(token, now)) is not None:
            return grant
        if self._signed is None:
            raise TokenRefused("the token is not one of this server")
        return self._signed.read(token, now)

    def read_bearer(self, token: str) -> Grant:
        """As `read`, and what a gateway shows. Raises TokenRefused."""
        with suppress(TokenRefused):
            return self.read_relayed(token)
        return self.read(token)

    @property
    def takes_relayed(self) -> bool:
        """Whether this process is a worker of a cluster."""
        return self._relayed is not None and not self._relays

    def relay(self, grant: Grant) -> str:
        """What shows a worker that this gateway lets somebody in. Raises ValueError where this is none."""
        if self._relayed is None or not self._relays:
            raise ValueError("tokens are relayed by gateways of a cluster alone")
        login = grant.login.number if grant.login is not None else None
        own = {"depthlive_login": login, "depthlive_token_exp": grant.expires}
        return self._relayed.make(grant, exp=time.time() + RELAY_SECONDS, **own)

    def read_relayed(self, token: str) -> Grant:
        """Raises TokenRefused, also where the token that it stands for has ended."""
        if self._relayed is None or self._relays:
            raise TokenRefused("this server takes no relayed tokens")
        now = time.time()
        grant, claims = self._relayed.read_claims(token, now)
        login = None if claims.depthlive_login is None else Login(grant.name, claims.depthlive_login)
        grant = replace(grant, expires=claims.depthlive_token_exp, login=login)
        grant.check_time(now)
        return grant

    def cookie(self, grant: Grant) -> tuple[str, int]:
        """What stands for a grant in a browser, and for how many seconds: it is no token elsewhere."""
        now = time.time()
        ends = min(now + COOKIE_SECONDS, grant.expires if grant.expires is not None else float("inf"))
        own = {"depthlive_login": self._login_number(), "depthlive_token_exp": grant.expires}
        return self._cookies.make(grant, exp=ends, **own), max(1, int(ends - now))

    def read_cookie(self, value: str) -> Grant:
        """Raises TokenRefused."""
        grant, claims = self._cookies.read_claims(value, time.time())
        login = Login(grant.name, claims.depthlive_login or 0)
        if self.ended.refuses(login):
            raise TokenRefused(LOGGED_OUT)
        return replace(grant, expires=claims.depthlive_token_exp, login=login)

    def end_login(self, value: str) -> None:
        """A cookie is good no more, nor what was let in by it. Nothing if it was none."""
        with suppress(TokenRefused):
            if (login := self.read_cookie(value).login) is not None:
                self.ended.add(login)

    def validity(self, grant: Grant, now: float) -> Validity:
        """Of a connection that this grant lets in at this time of the loop's clock."""
        expires_at = None if grant.expires is None else now + grant.expires - time.time()
        return Validity(expires_at, grant.login, self.ended)


def login_number() -> int:
    """Of a login that begins now, in whichever process of a cluster: by their time, and hardly ever twice."""
    return time.time_ns() // 1000 * 1024 + secrets.randbelow(1024)


def _derived(secret: bytes, use: str) -> bytes:
    """A key of its own for each use of one secret."""
    return hmac.digest(secret, use.encode(), "sha256")


def read_secret(path: Path) -> bytes:
    """The secret in a file, space around it aside. Raises UnusableAccess."""
    secret = _read(path, "auth_secret_file").strip().encode()
    if len(secret) < MIN_SECRET_BYTES:
        raise UnusableAccess(
            f"auth_secret_file: {path} holds {len(secret)} bytes; expected at least {MIN_SECRET_BYTES} "
            "random ones, as `openssl rand -base64 48` makes"
        )
    return secret


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableAccess(f"{setting}: {path} is not UTF-8 text") from error
    except OSError as error:
        raise UnusableAccess(f"{setting}: {path} cannot be read: {error.strerror}") from error


def _entry(number: int, parts: list[str]) -> tuple[bytes, Grant]:
    where = f"auth_tokens_file: line {number}"
    if len(parts) < 3:
        raise UnusableAccess(f"{where}: expected {LINE}")
    name, role, token, *options = parts
    if not re.fullmatch(NAME, name):
        raise UnusableAccess(f"{where}: the name: expected up to 64 letters, digits, and _ . @ -")
    if role not in ROLES:
        raise UnusableAccess(f"{where}: the role: expected one of {', '.join(ROLES)}")
    if len(token) < MIN_TOKEN_LENGTH:
        raise UnusableAccess(f"{where}: the token: expected at least {MIN_TOKEN_LENGTH} characters")
    session, expires = None, None
    for option in options:
        key, _, value = option.partition("=")
        if key == "session" and re.fullmatch(SESSION, value):
            session = value
        elif key == "expires" and (expires := _time(value)) is not None:
            continue
        else:
            raise UnusableAccess(f"{where}: expected {LINE}")
    return _digest(token), Grant(name, role, session, expires)


def _time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
