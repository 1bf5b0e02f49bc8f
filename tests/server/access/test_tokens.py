"""Tokens: signed and listed ones, their end, and that none of them is told in an error."""

import time
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from server.access.errors import UnusableAccess
from server.access.tokens import Grant, SignedTokens, StaticTokens, TokenRefused, Tokens, login_number
from server.access.validity import MAX_ENDED
from server.cli import app
from server.settings import load_settings

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"another-secret-of-32-bytes-or-more"
NOW = 1_000_000.0
TOKEN = "a-token-of-some-length"
CLAIMS = {"sub": "ann", "role": "publish"}


@pytest.mark.parametrize("grant", [Grant("ann", "publish"), Grant("b.c@d", "view", "abc-_", NOW + 1)])
def test_a_signed_token_says_what_it_was_made_of(grant):
    signed = SignedTokens(SECRET)
    assert signed.read(signed.make(grant), NOW) == grant


def test_law_a_token_ends_at_its_time():
    signed = SignedTokens(SECRET)
    token = signed.make(Grant("ann", "view", expires=NOW))
    assert signed.read(token, NOW - 1).name == "ann"
    for now in (NOW, NOW + 1e9):
        with pytest.raises(TokenRefused, match="expired"):
            signed.read(token, now)


def forged(claims: dict[str, object], key: object = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é" * 40,
        "\0",
        forged(CLAIMS, OTHER),
        forged(CLAIMS, None, "none"),
        forged(CLAIMS, SECRET * 2, "HS512"),
        forged(CLAIMS)[:-2],
        forged({"sub": "ann"}),
        forged({"role": "publish"}),
        forged(CLAIMS | {"role": "root"}),
        forged(CLAIMS | {"role": ["admin"]}),
        forged(CLAIMS | {"sub": "a b"}),
        forged(CLAIMS | {"sub": "ann\n"}),
        forged(CLAIMS | {"session": ""}),
        forged(CLAIMS | {"exp": "never"}),
        forged(CLAIMS | {"exp": [1]}),
        forged(CLAIMS | {"nbf": 10**11}),
    ],
)
def test_law_what_this_secret_did_not_sign_is_no_token(token):
    with pytest.raises(TokenRefused, match="not one of this server"):
        SignedTokens(SECRET).read(token, NOW)


LINES = f"""
# who may come
ann publish {TOKEN}
bob view another-token-of-some-length session=abc expires=2001-01-01T00:00:00Z
"""


def test_listed_tokens_have_names_roles_sessions_and_ends():
    static = StaticTokens(LINES.splitlines())
    assert static.read(TOKEN, NOW) == Grant("ann", "publish")
    ends = 978307200.0
    assert static.read("another-token-of-some-length", ends - 1) == Grant("bob", "view", "abc", ends)
    with pytest.raises(TokenRefused, match="expired"):
        static.read("another-token-of-some-length", ends)
    for unknown in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é", "\udcff"):
        assert static.read(unknown, NOW) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ann", "expected NAME ROLE TOKEN"),
        ("ann publish", "expected NAME ROLE TOKEN"),
        (f"a/b publish {TOKEN}", "the name: expected"),
        (f"ann root {TOKEN}", "the role: expected one of publish, control, view, admin"),
        ("ann publish short-token", "the token: expected at least 16"),
        (f"ann publish {TOKEN} session=", "expected NAME ROLE TOKEN"),
        (f"ann publish {TOKEN} expires=soon", "expected NAME ROLE TOKEN"),
        (f"ann publish {TOKEN} and more", "expected NAME ROLE TOKEN"),
    ],
)
def test_a_bad_line_is_told_by_its_number_without_its_token(line, words):
    with pytest.raises(UnusableAccess, match=f"line 2: .*{words}|line 2: {words}") as refused:
        StaticTokens(["# first", line])
    assert TOKEN not in str(refused.value) and "short-token" not in str(refused.value)


def loaded(tmp_path: Path, secret: bytes | None = None, lines: str | None = None) -> Tokens | None:
    options = {}
    for name, data in (("auth_secret_file", secret), ("auth_tokens_file", lines)):
        if data is not None:
            path = options[name] = tmp_path / name
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Tokens.load(load_settings(options))


def test_both_kinds_may_be_used_together(tmp_path):
    tokens = loaded(tmp_path, SECRET + b"\n", "\ufeff" + LINES)
    assert tokens is not None
    assert tokens.read(TOKEN).name == "ann"
    assert tokens.read(SignedTokens(SECRET).make(Grant("eve", "view"))).name == "eve"
    with pytest.raises(TokenRefused):
        tokens.read("x")


def test_without_files_nobody_needs_a_token(tmp_path):
    assert loaded(tmp_path) is None


@pytest.mark.parametrize(
    ("secret", "lines", "words"),
    [
        (b"short", None, "auth_secret_file: .* holds 5 bytes; expected at least 32"),
        (b"\xff" * 40, None, "is not UTF-8 text"),
        (None, "# nobody\n", "auth_tokens_file: .* is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, secret, lines, words):
    with pytest.raises(UnusableAccess, match=words):
        loaded(tmp_path, secret, lines)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UnusableAccess, match="auth_secret_file: .* cannot be read: No such file"):
        Tokens.load(load_settings({"auth_secret_file": tmp_path / "nothing"}))
    with pytest.raises(UnusableAccess, match="auth_tokens_file: .* cannot be read: Is a directory"):
        Tokens.load(load_settings({"auth_tokens_file": tmp_path}))


def test_law_a_cookie_is_no_token_and_lasts_no_longer_than_its_token(tmp_path):
    tokens = Tokens(SECRET, LINES.splitlines())
    ends = time.time() + 100
    value, seconds = tokens.cookie(Grant("ann", "view", "abc", ends))
    found = tokens.read_cookie(value)
    assert replace(found, login=None) == Grant("ann", "view", "abc", ends) and found.login and seconds <= 100
    with pytest.raises(TokenRefused):
        tokens.read(value)
    with pytest.raises(TokenRefused):
        tokens.read_cookie(SignedTokens(SECRET).make(Grant("ann", "admin")))
    assert tokens.cookie(Grant("ann", "view"))[1] <= 12 * 3600


def test_law_a_login_that_was_ended_is_never_good_again():
    """However many of whom are ended after it; and nobody's logins end by those of others."""
    tokens = Tokens(SECRET, [])
    old, unended = (tokens.cookie(Grant("ann", "view"))[0] for _ in range(2))
    tokens.end_login(old)
    others = tokens.cookie(Grant("eve", "admin"))[0]
    for name in ("bob", "ann"):
        for _ in range(MAX_ENDED + 5):
            tokens.end_login(tokens.cookie(Grant(name, "view"))[0])
        with pytest.raises(TokenRefused, match="logged out"):
            tokens.read_cookie(old)
    for value in (others, tokens.cookie(Grant("ann", "view"))[0]):
        assert tokens.read_cookie(value).login is not None
    with pytest.raises(TokenRefused, match="logged out"):
        tokens.read_cookie(unended)  # of ann's own, older than the oldest that is remembered


def test_law_a_stream_is_not_ended_by_other_logins_of_its_name():
    tokens = Tokens(SECRET, [])
    validity = tokens.validity(tokens.read_cookie(tokens.cookie(Grant("ann", "publish"))[0]), now=0)
    for _ in range(MAX_ENDED + 5):
        tokens.end_login(tokens.cookie(Grant("ann", "publish"))[0])
    assert validity.over(0) is None


def test_law_a_cookie_is_good_in_its_own_process_alone():
    """Another does not know who has logged out."""
    value, _ = Tokens(SECRET, LINES.splitlines()).cookie(Grant("ann", "view"))
    with pytest.raises(TokenRefused):
        Tokens(SECRET, LINES.splitlines()).read_cookie(value)


class TestInACluster:
    """Processes that share a secret, and tell each other of logouts."""

    def process(self, *told: Tokens, lines: str = LINES) -> Tokens:
        """That begins when those of `told` are there."""
        tokens = Tokens(SECRET, lines.splitlines(), OTHER)
        for other in told:
            tokens.ended.learn(other.ended.told())
        return tokens

    def test_law_a_login_at_one_is_good_at_another_that_knows_of_logouts(self):
        first = self.process()
        cookie = first.cookie(Grant("ann", "view"))[0]
        second = self.process(first)
        found = second.read_cookie(cookie)
        assert found.name == "ann" and found.login is not None
        second.end_login(cookie)
        first.ended.learn(second.ended.told())
        with pytest.raises(TokenRefused, match="logged out"):
            first.read_cookie(cookie)

    def test_law_no_older_login_is_good_where_nobody_knows_of_logouts_any_more(self):
        first = self.process()
        ended, other = (first.cookie(Grant("ann", "view"))[0] for _ in range(2))
        first.end_login(ended)
        alone = self.process()
        for cookie in (ended, other):
            with pytest.raises(TokenRefused):
                alone.read_cookie(cookie)
        alone.ended.learn(first.ended.told())
        assert alone.read_cookie(other).name == "ann"
        with pytest.raises(TokenRefused, match="logged out"):
            alone.read_cookie(ended)

    def test_law_what_is_learned_twice_or_in_another_order_is_the_same(self):
        first = self.process()
        second, third = self.process(first), self.process(first)
        for tokens in (first, second):
            for name in ("ann", "bob"):
                tokens.end_login(tokens.cookie(Grant(name, "view"))[0])
        told = first.ended.told(), second.ended.told()
        for one in (*told, *reversed(told)):
            third.ended.learn(one)
        second.ended.learn(told[0])
        assert third.ended.told() == second.ended.told()
        assert third.ended.told().digest == second.ended.told().digest != told[1].digest

    def test_law_a_cookie_is_good_only_where_the_tokens_are_the_same(self):
        """One whose token was taken away would be good still."""
        first = self.process()
        cookie = first.cookie(Grant("ann", "view"))[0]
        with pytest.raises(TokenRefused, match="not one of this server"):
            self.process(first, lines="").read_cookie(cookie)

    def test_logins_are_in_the_order_of_their_time(self):
        numbers = [login_number() for _ in range(3) if time.sleep(0.001) is None]
        assert numbers == sorted(numbers)


def test_the_command_makes_a_token_that_the_server_takes(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    options = ["--auth-secret-file", str(file), "--name", "ann", "--session", "abc", "--days", "1"]
    made = CliRunner().invoke(app, ["token", "--role", "view", *options])
    assert made.exit_code == 0, made.output
    grant = SignedTokens(SECRET).read(made.stdout.strip(), time.time())
    assert (grant.name, grant.role, grant.session) == ("ann", "view", "abc")
    assert grant.expires is not None and 86000 < grant.expires - time.time() <= 86400
    for_ever = CliRunner().invoke(app, ["token", "--role", "admin", *options[:2], "--days", "0"])
    assert SignedTokens(SECRET).read(for_ever.stdout.strip(), 1e12).role == "admin"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--role", "root"], "--role"),
        (["--role", "view", "--name", "a b"], "--name"),
        (["--role", "view", "--session", "a/b"], "--session"),
        (["--role", "view", "--auth-secret-file", "/nowhere"], "cannot be read"),
    ],
)
def test_the_command_tells_what_it_cannot_use(tmp_path, options, words):
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    result = CliRunner().invoke(app, ["token", "--auth-secret-file", str(file), *options])
    assert result.exit_code == 2 and words in result.stderr


CLUSTER = b"a secret that all of one cluster share"


def of_gateway() -> Tokens:
    return Tokens(SECRET, LINES.splitlines(), CLUSTER, relays=True)


def of_worker() -> Tokens:
    return Tokens(SECRET, LINES.splitlines(), CLUSTER)


def test_law_a_relayed_token_shows_a_worker_who_came_and_nobody_else():
    grant = Grant("ann", "publish", expires=time.time() + 3600)
    token = of_gateway().relay(grant)
    assert of_worker().read_relayed(token) == of_worker().read_bearer(token) == grant  # ends as her own does
    for other in (Tokens(SECRET, []), Tokens(SECRET, [], CLUSTER + b"x"), of_gateway()):
        with pytest.raises(TokenRefused):
            other.read_bearer(token)
    for other in (Tokens(SECRET, []), of_worker()):
        with pytest.raises(ValueError, match="gateways of a cluster"):
            other.relay(grant)


def test_law_a_relayed_token_is_good_for_a_minute(monkeypatch):
    """And for nothing that lasts longer: a login by it would."""
    token, now = of_gateway().relay(Grant("ann", "publish")), time.time()
    with pytest.raises(TokenRefused):
        of_worker().read(token)
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(TokenRefused, match="expired"):
        of_worker().read_relayed(token)


def test_law_a_relayed_token_ends_with_the_one_that_it_stands_for(monkeypatch):
    now = time.time()
    token = of_gateway().relay(Grant("ann", "publish", expires=now + 5))
    monkeypatch.setattr(time, "time", lambda: now + 5)
    with pytest.raises(TokenRefused, match="expired"):
        of_worker().read_relayed(token)


def test_a_relayed_token_is_no_cookie():
    with pytest.raises(TokenRefused):
        of_worker().read_cookie(of_gateway().relay(Grant("ann", "publish")))
