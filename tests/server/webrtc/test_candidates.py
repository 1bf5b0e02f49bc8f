"""Candidates that are tried: few, and none of them a door that a stranger has this machine knock at."""

import pytest
from aiohttp.test_utils import make_mocked_request

from server.settings import load_settings
from server.webrtc.candidates import AddressRule, address_rule, read_candidate

PUBLIC = ["192.0.2.1", "8.8.8.8", "2001:db8::1", "2a00::1", "64:ff9b::808:808"]
PRIVATE = ["10.0.0.1", "172.31.255.1", "192.168.1.7", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
LOOPBACK = ["127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"]
LOOPBACK += ["2002:7f00:1::"]
NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.251", "239.1.1.1", "240.0.0.1", "255.255.255.255"]
NEVER += ["::", "fe80::1", "fe80::1%eth0", "ff02::fb", "::ffff:224.0.0.1", "::ffff:169.254.1.1", "64:ff9b::"]
NEVER += ["", "example.org", "127.1", "0x7f000001", "2130706433", "010.0.0.1", "1.2.3.4 "]


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize("private", [True, False])
def test_each_kind_of_address_is_tried_as_the_rule_says(loopback, private):
    rule = AddressRule(loopback=loopback, private=private)
    assert all(map(rule, PUBLIC)) and not any(map(rule, NEVER))
    assert {rule(address) for address in LOOPBACK} == {loopback}
    assert {rule(address) for address in PRIVATE} == {private}


@pytest.mark.parametrize(
    ("remote", "headers", "is_local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.168.1.7", {}, False),
        (None, {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.1"}, False),
        ("127.0.0.1", {"Forwarded": "for=198.51.100.1"}, False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, False),
    ],
)
def test_loopback_is_for_clients_on_this_machine(remote, headers, is_local):
    request = make_mocked_request("POST", "/whip", headers=headers).clone(remote=remote)
    assert address_rule(request, load_settings({})) == AddressRule(loopback=is_local, private=True)


def test_private_networks_can_be_left_out():
    request = make_mocked_request("POST", "/whip").clone(remote="192.0.2.1")
    assert not address_rule(request, load_settings({"private_candidates": False})).private


GOOD = "1 1 udp 2130706431 192.0.2.1 5000 typ host"


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        GOOD + " generation 0 ufrag x network-cost 999",
        GOOD.replace("udp", "UDP"),
        GOOD.replace("host", "srflx raddr 0.0.0.0 rport 0"),
        GOOD.replace("192.0.2.1", "2001:db8::1"),
        GOOD.replace("192.0.2.1", "3f2c-9a.local"),
    ],
)
def test_candidates_are_read(value):
    candidate = read_candidate(value)
    assert (candidate.port, candidate.protocol, candidate.component) == (5000, "udp", 1)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1 1 udp",
        GOOD.replace("5000", "0"),
        GOOD.replace("5000", "65536"),
        GOOD.replace("typ host", "typ other"),
        GOOD.replace("192.0.2.1", "example.org"),
        GOOD.replace("192.0.2.1", "a.b.local"),
        GOOD.replace("2130706431", "-1"),
        GOOD.replace("2130706431", "9" * 5000),
        GOOD.replace("5000", "\u0665000"),
    ],
)
def test_what_is_no_candidate_is_told_apart(value):
    with pytest.raises(ValueError):
        read_candidate(value)
