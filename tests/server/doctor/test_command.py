import json

import pytest
from typer.testing import CliRunner

from server.cli import app
from server.doctor import facts
from streaming.device_report import DeviceReport


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One without a GPU, whatever runs the tests, and with every port free."""
    monkeypatch.setattr(facts, "device", lambda settings: DeviceReport())
    monkeypatch.setattr(facts, "listen_problem", lambda host, port: None)


def doctor(*arguments, **environment):
    return CliRunner().invoke(app, ["doctor", *arguments], env=environment)


def test_a_machine_in_order_is_told_so():
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


def test_law_a_failure_is_the_exit_status(monkeypatch):
    monkeypatch.setattr(facts, "listen_problem", lambda host, port: "taken")
    result = doctor()
    assert result.exit_code == 1
    assert "taken" in result.output and "->" in result.output


def test_json_is_all_that_is_printed():
    result = doctor("--json", "--public-address", "127.0.0.1")
    findings = {one["check"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert findings["public_address"]["level"] == "failure" and findings["public_address"]["fix"]
    expected = {
        "python",
        "packages",
        "clock",
        "port",
        "browser",
        "udp_ports",
        "ice_servers",
        "access",
        "device",
    }
    assert (
        expected | {"optimizations", "weights", "recordings_dir", "space_for_recordings"} <= findings.keys()
    )


def test_it_takes_the_settings_of_serve(tmp_path):
    file = tmp_path / "live.toml"
    file.write_text('model = "none"\n')
    result = doctor(
        "--json", "--config", str(file), "--max-sessions", "3", DEPTHLIVE_PUBLIC_ADDRESS="8.8.8.8"
    )
    texts = {one["check"]: one["text"] for one in json.loads(result.stdout)}
    assert "none" in texts["weights"] and "8.8.8.8" in texts["public_address"]
    bad = doctor("--port", "70000")
    assert bad.exit_code == 2 and "port" in bad.output


def test_each_ice_server_is_asked(monkeypatch):
    monkeypatch.setattr("server.doctor.ice_probe.PATIENCE_S", 0.2)
    result = doctor("--json", "--ice-server", "stun:127.0.0.1:1,turn:127.0.0.1:1")
    told = [one["text"] for one in json.loads(result.stdout) if one["check"] == "ice_servers"]
    assert len(told) == 2 and told[0].startswith("stun:") and "credentials" in told[1]
