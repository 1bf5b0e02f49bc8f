"""Each check passes for what is right, and fails with what to do for what is not."""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from server.doctor import checks
from server.doctor.finding import Finding
from server.settings import load_settings
from streaming.device_report import DeviceReport
from streaming.hub.pull import FileState

GPU = DeviceReport(
    name="H200",
    driver="570.1",
    capability=(9, 0),
    memory_bytes=144 * 10**9,
    free_bytes=140 * 10**9,
    optimizations={"graphs": None, "fp8": "speed is exact"},
)
TOKENS = {"host": "0.0.0.0", "auth_secret_file": Path("secret")}
RELAY = {"host": "0.0.0.0", "trusted_proxies": ["10.0.0.0/8"]}
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def having(**settings):
    return load_settings({"max_sessions": 2, **settings})


CASES = [
    ("ok", lambda: checks.python("3.12.1", ">=3.11"), "3.12.1"),
    ("failure", lambda: checks.python("3.10.2", ">=3.11"), "expected >=3.11"),
    ("warning", lambda: checks.python("3.12.1", None), "not installed"),
    ("ok", lambda: checks.packages(["av>=17,<20"], {"av": "17.1"}), "1 requirements"),
    ("ok", lambda: checks.packages(["tzdata>=1; python_version < '3'"], {}), ""),
    ("failure", lambda: checks.packages(["av>=17,<20"], {"av": "16.0"}), "av 16.0: expected"),
    ("failure", lambda: checks.packages(["av>=17,<20"], {}), "av is missing"),
    ("ok", lambda: checks.port("port", "127.0.0.1", 8080, None), "8080"),
    ("failure", lambda: checks.port("port", "127.0.0.1", 8080, "in use"), "in use"),
    ("ok", lambda: checks.udp_ports(having(), 0, 1), "any free"),
    ("ok", lambda: checks.udp_ports(having(udp_ports="50000-50003"), 4, 1), "4 of 4"),
    ("warning", lambda: checks.udp_ports(having(udp_ports="50000-50003"), 3, 1), "may need 4"),
    ("warning", lambda: checks.udp_ports(having(udp_ports="50000-50003"), 4, 2), "may need 8"),
    ("failure", lambda: checks.udp_ports(having(udp_ports="50000-50003"), 0, 1), "none of the 4"),
    ("ok", lambda: checks.public_address(None, ["192.0.2.7"]), "192.0.2.7"),
    ("warning", lambda: checks.public_address(None, []), "no address"),
    ("ok", lambda: checks.public_address(ip_address("8.8.8.8"), []), "8.8.8.8"),
    ("warning", lambda: checks.public_address(ip_address("10.1.2.3"), []), "own network"),
    ("failure", lambda: checks.public_address(ip_address("127.0.0.1"), []), "127.0.0.1"),
    ("failure", lambda: checks.public_address(ip_address("0.0.0.0"), []), "0.0.0.0"),
    ("failure", lambda: checks.public_address(ip_address("fe80::1"), []), "fe80::1"),
    ("ok", lambda: checks.browser(having()), "this machine"),
    ("ok", lambda: checks.browser(having(host="0.0.0.0", tls="self-signed")), "https"),
    ("ok", lambda: checks.browser(having(host="0.0.0.0", tls_cert="c", tls_key="k")), "https"),
    ("ok", lambda: checks.browser(having(**RELAY)), "proxy"),
    ("warning", lambda: checks.browser(having(host="0.0.0.0")), "no camera"),
    ("ok", lambda: checks.access(having(), None), "this machine"),
    ("ok", lambda: checks.access(having(**TOKENS), None), "tokens"),
    ("warning", lambda: checks.access(having(host="0.0.0.0", open=True), None), "may use it"),
    ("warning", lambda: checks.access(having(trusted_proxies=["10.0.0.0/8"]), None), "may use it"),
    ("failure", lambda: checks.access(having(host="0.0.0.0"), "host: nobody asked"), "nobody asked"),
    ("ok", lambda: checks.device(GPU, "longlive-1.3b"), "capability 9.0, 140.0 of 144.0 GB"),
    ("ok", lambda: checks.device(DeviceReport(), "embedded"), "no GPU"),
    ("warning", lambda: checks.device(DeviceReport(), "longlive-1.3b"), "far from real time"),
    ("warning", lambda: checks.device(DeviceReport(driver="570.1"), "embedded"), "although"),
    ("failure", lambda: checks.device(DeviceReport(problem="no cuda here"), "embedded"), "no cuda"),
    ("ok", lambda: checks.optimizations(DeviceReport()), "CPU"),
    ("ok", lambda: checks.optimizations(GPU), "not used: fp8: speed is exact"),
    (
        "warning",
        lambda: checks.optimizations(DeviceReport(capability=(9, 0), installable=("fa3-fwd",))),
        "used: none",
    ),
    ("ok", lambda: checks.weights(having(), [], None), "built in"),
    ("ok", lambda: checks.weights(having(random_weights=True), [], "no such"), "random"),
    ("ok", lambda: checks.weights(having(), [FileState("a", 10**9, 10**9)], None), "1.0 GB"),
    ("warning", lambda: checks.weights(having(), [FileState("a", 2 * 10**9, 10**9)], None), "1.0 of 2.0"),
    ("warning", lambda: checks.weights(having(), [FileState("a", None, 0)], None), "0.0 GB are here"),
    ("failure", lambda: checks.weights(having(), [], "there is no preset"), "no preset"),
    ("ok", lambda: checks.space_for_weights(10**9, 2 * 10**9, "/x"), "/x"),
    ("failure", lambda: checks.space_for_weights(2 * 10**9, 10**9, "/x"), "2.0 GB"),
    ("ok", lambda: checks.folder("cache_dir", "/x", None), "/x"),
    ("failure", lambda: checks.folder("cache_dir", "/x", "Permission denied"), "Permission"),
    ("ok", lambda: checks.space_for_recordings(having(max_recordings_mb=1), 1 << 30), "1.1 GB"),
    ("warning", lambda: checks.space_for_recordings(having(max_recordings_mb=4096), 1 << 30), "4.3"),
    ("failure", lambda: checks.space_for_recordings(having(max_recordings_mb=1), 1 << 20), "0.0 GB"),
    ("ok", lambda: checks.size((832, 480), None), "832x480"),
    ("failure", lambda: checks.size((830, 480), "must be multiples of 16"), "multiples of 16"),
    ("ok", lambda: checks.file("scribble", "/x", None), "/x"),
    ("failure", lambda: checks.file("scribble", "/x", "No such file"), "No such"),
    ("ok", lambda: checks.ice_server("stun:a", None, "192.0.2.1"), "192.0.2.1"),
    ("failure", lambda: checks.ice_server("stun:a", "no answer", None), "no answer"),
    ("ok", lambda: checks.no_ice_servers(having(), []), "this machine"),
    ("ok", lambda: checks.no_ice_servers(having(host="0.0.0.0", public_address="8.8.8.8"), []), "public"),
    ("warning", lambda: checks.no_ice_servers(having(host="0.0.0.0"), ["192.0.2.7"]), "192.0.2.7"),
    ("ok", lambda: checks.clock(NOW, NOW), "2026-11-30"),
    ("failure", lambda: checks.clock(NOW.replace(year=1970), NOW), "1970"),
]


@pytest.mark.parametrize(("level", "check", "words"), CASES, ids=range(len(CASES)))
def test_law_a_check_says_how_it_is_and_what_to_do(level, check, words):
    found: Finding = check()
    assert (found.level, words in found.text) == (level, True), found
    assert bool(found.fix) == (level != "ok"), "what is not ok has a fix in words"


def test_every_check_is_tried():
    tried = {name for _, check, _ in CASES for name in check.__code__.co_names}
    functions = {
        name for name, one in vars(checks).items() if getattr(one, "__module__", "") == checks.__name__
    }
    assert functions <= tried


def test_a_fix_for_optimizations_names_the_packages():
    report = DeviceReport(capability=(9, 0), installable=("fa3-fwd", "triton"))
    assert checks.optimizations(report).fix == "pip install fa3-fwd triton"
