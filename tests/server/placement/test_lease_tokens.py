"""Who may take up a place of a worker, and how often."""

import secrets

import jwt
import pytest

from server.access.tokens import ALGORITHM, Grant, SignedTokens, TokenRefused
from server.placement import lease_tokens
from server.placement.lease_tokens import LeaseGate, LeaseRefused, LeaseTokens
from server.placement.port import LEASE_S, Lease, Orders

SECRET = secrets.token_bytes(32)
NOW = 1_000_000.0
GRANT = Grant("ada", "publish", None, NOW + 3600)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def lease(**more: str) -> Lease:
    told = {"worker": "w", "start": "w-1", "epoch": "e", "session": "s"} | more
    return Lease(url="http://w", token="", ttl=LEASE_S, **told)


def token(grant: Grant | None = GRANT, secret: bytes = SECRET, **more: str) -> str:
    return LeaseTokens(secret).make(lease(**more), "192.0.2.1", grant, NOW, goes_on=False)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate(clock):
    gate = LeaseGate(LeaseTokens(SECRET), "w", "w-1", clock=clock)
    gate.hear(Orders(epoch="e"))
    return gate


@pytest.mark.parametrize("grant", [GRANT, Grant("bob", "admin", "s"), None])
def test_a_lease_says_who_was_let_in_and_from_where(gate, grant):
    place = gate.check(token(grant))
    assert (place.grant, place.network, place.session) == (grant, "192.0.2.1", "s")


def test_law_a_lease_is_taken_up_once(gate):
    place = gate.check(token())
    gate.check(token())
    gate.take(place)
    with pytest.raises(LeaseRefused, match="has been used"):
        gate.take(place)


def test_law_a_lease_that_is_being_read_twice_is_taken_up_once(gate):
    text = token()
    first, second = gate.check(text), gate.check(text)
    gate.take(second)
    with pytest.raises(LeaseRefused, match="has been used"):
        gate.take(first)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"worker": "other"}, "for another worker"),
        ({"start": "w-0"}, "for a process that has ended"),
        ({"epoch": "before"}, "it is void"),
    ],
)
def test_law_a_lease_is_for_one_worker_process_and_registration(gate, more, words):
    with pytest.raises(LeaseRefused, match=words):
        gate.check(token(**more))


def test_law_a_lease_ends_with_its_time(gate, clock):
    place = gate.check(token())
    clock.now = NOW + LEASE_S
    for ask in (lambda: gate.check(token()), lambda: gate.take(place)):
        with pytest.raises(LeaseRefused, match="its time is over"):
            ask()


def test_law_a_new_registration_voids_what_was_checked_before(gate):
    place = gate.check(token())
    assert gate.hear(Orders(epoch="later")) and not gate.hear(Orders(epoch="later"))
    with pytest.raises(LeaseRefused, match="it is void"):
        gate.take(place)


def test_law_a_worker_that_drains_takes_nobody_and_goes_on_draining(gate):
    gate.hear(Orders(epoch="e", drain=True))
    gate.hear(Orders(epoch="e"))
    with pytest.raises(LeaseRefused, match="drains"):
        gate.check(token())


def for_another_audience() -> str:
    claims = jwt.decode(
        token(), SECRET, [ALGORITHM], audience=lease_tokens.AUDIENCE, options={"verify_exp": False}
    )
    return jwt.encode(claims | {"aud": "another"}, SECRET, ALGORITHM)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "x" * 5000,
        token(secret=secrets.token_bytes(32)),
        SignedTokens(SECRET).make(GRANT),
        for_another_audience(),
        jwt.encode({"aud": lease_tokens.AUDIENCE, "exp": NOW + 9}, SECRET, ALGORITHM),
        jwt.encode({"aud": lease_tokens.AUDIENCE, "exp": float("inf"), "jti": "a"}, SECRET, ALGORITHM),
    ],
    ids=[
        "empty",
        "nonsense",
        "long",
        "another secret",
        "of a user",
        "for others",
        "claims missing",
        "endless",
    ],
)
def test_law_what_is_no_lease_is_refused_in_words_without_it(gate, text):
    with pytest.raises(LeaseRefused, match="^lease: ") as refused:
        gate.check(text)
    assert not text or text[-8:] not in str(refused.value)


def test_law_a_lease_is_no_token_of_a_user_though_one_secret_signs_both():
    with pytest.raises(TokenRefused):
        SignedTokens(SECRET).read(token(), NOW)


def test_law_what_is_remembered_of_used_leases_is_bounded_and_forgets_none_too_early(
    gate, clock, monkeypatch
):
    monkeypatch.setattr(lease_tokens, "MAX_USED", 3)
    used = [gate.check(token()) for _ in range(3)]
    for place in used:
        gate.take(place)
    with pytest.raises(LeaseRefused, match="too many"):
        gate.take(gate.check(token()))
    with pytest.raises(LeaseRefused, match="has been used"):
        gate.take(used[0])
    clock.now += LEASE_S
    later = LeaseTokens(SECRET).make(lease(), "n", None, clock.now, goes_on=False)
    gate.take(gate.check(later))
    assert len(gate._used) == 1


def test_a_secret_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="secret: expected at least 32 bytes, got 5"):
        LeaseTokens(b"short")
