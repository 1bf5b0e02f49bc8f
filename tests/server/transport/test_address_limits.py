"""What one network may hold and ask for."""

import pytest

import server.transport.address_limits
from server.transport.address_limits import Rates, Shares, TooMuch, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_an_ipv6_customer_is_one_network(address, network):
    assert network_of(address) == network


def test_law_a_network_holds_its_share_and_all_together_theirs():
    shares = Shares("sockets", by_address=2, in_all=3)
    shares.take("2001:db8::1")
    shares.take("2001:db8::2")
    with pytest.raises(TooMuch, match="sockets: expected at most 2 from one address"):
        shares.take("2001:db8::3")
    shares.take("192.0.2.1")
    with pytest.raises(TooMuch, match="at most 3 in all"):
        shares.take("192.0.2.2")
    shares.give_back("2001:db8::9")
    shares.take("192.0.2.2")
    assert (shares.of("2001:db8::"), shares.in_use) == (1, 3)


def test_what_is_held_is_given_back_whatever_happens():
    shares = Shares("bytes", by_address=10, in_all=10)
    with pytest.raises(LookupError), shares.held("a", 8):
        assert shares.of("a") == 8
        raise LookupError
    assert shares.of("a") == shares.in_use == 0 and not shares._held


def test_law_rates_are_by_network_and_come_back_with_time():
    rates = Rates("connections", 2.0, 4)
    for _ in range(4):
        rates.spend("a", 0.0)
    with pytest.raises(TooMuch, match="connections: expected at most 2 a second"):
        rates.spend("a", 0.0)
    rates.spend("b", 0.0)
    rates.spend("a", 0.5)


def test_law_networks_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(server.transport.address_limits, "MAX_REMEMBERED", 100)
    rates = Rates("connections", 1.0, 2)
    for number in range(1000):
        rates.spend(f"{number}", 0.0)
        assert len(rates) <= 100
    for number in range(1000, 1100):
        rates.spend(f"{number}", 60.0)
    assert len(rates) <= 100
