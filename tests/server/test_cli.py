import runpy
import socket
import sys

import pytest
from typer.testing import CliRunner

import server.cli
from server.access.errors import UnusableAccess
from server.cli import app
from server.settings import Settings

WIDE = {"COLUMNS": "200", "TERM": "dumb"}


@pytest.fixture
def served(monkeypatch):
    """The settings that `serve` was started with, instead of a server."""
    started: list[Settings] = []

    async def start(settings: Settings) -> None:
        started.append(settings)

    monkeypatch.setattr(server.cli, "serve_until_stopped", start)
    monkeypatch.setattr(server.cli, "configure_logging", lambda level, format: None)
    return started


def test_every_setting_has_a_flag_with_its_description_and_default():
    help = " ".join(CliRunner().invoke(app, ["serve", "--help"], env=WIDE).output.split())
    for name, field in Settings.model_fields.items():
        several = {"ice_servers": "ice-server", "allowed_origins": "allowed-origin", "codecs": "codec"}
        flag = several.get(name, name.replace("_", "-"))
        assert f"--{flag} " in help
        assert field.description.split(";")[0] in help
    assert "127.0.0.1" in help and "8080" in help and "Default: h264, vp8." in help


def test_flags_reach_the_settings(served):
    arguments = ["serve", "--port", "0", "--device", "cpu", "--stamp-source", "--ice-server", "stun:a:1"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (served[0].port, served[0].device, served[0].stamp_source) == (0, "cpu", True)
    assert served[0].ice_servers[0].urls == ("stun:a:1",)


def test_flags_left_out_leave_the_defaults(served):
    assert CliRunner().invoke(app, ["serve"]).exit_code == 0
    assert served[0].describe() == Settings.model_construct().describe()


TURN = '{ urls = ["turn:t"], username = "u", credential = "TOPSECRET" }'


def test_ice_servers_come_from_the_file_and_the_environment_too(served, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(f"ice_servers = [{TURN}]\n")
    assert CliRunner().invoke(app, ["serve", "--config", str(file)]).exit_code == 0
    environment = {"DEPTHLIVE_ICE_SERVERS": '[{"urls": ["stun:e"]}]'}
    assert CliRunner().invoke(app, ["serve"], env=environment).exit_code == 0
    assert [settings.ice_servers[0].urls for settings in served] == [("turn:t",), ("stun:e",)]
    assert "TOPSECRET" not in served[0].describe()


def test_a_bad_setting_is_named_without_its_secret(served, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("ice_servers = [" + TURN.replace('urls = ["turn:t"], ', "") + "]\n")
    result = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert result.exit_code == 2 and "ice_servers.0.urls" in result.output
    assert "TOPSECRET" not in result.output


def test_config_file_from_the_environment(served, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("port = 4321\n")
    assert CliRunner().invoke(app, ["serve"], env={"DEPTHLIVE_CONFIG": str(file)}).exit_code == 0
    assert served[0].port == 4321


def test_python_m_server_is_serve(served, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["server", "--port", "1234"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("server", run_name="__main__")
    assert ended.value.code == 0
    assert served[0].port == 1234


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "port: Input should be less than or equal to 65535, got 70000"),
        (["--device", "abacus"], "device: Input should be 'auto', 'cpu' or 'cuda', got 'abacus'"),
        (["--config", "/nowhere.toml"], "cannot read the configuration file /nowhere.toml"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(served, arguments, told):
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert not served


def test_file_that_is_no_toml_is_told(served, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("port: 1\n")
    result = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert result.exit_code == 2
    assert "is not valid TOML" in result.stderr


def test_a_port_in_use_is_told_in_words(monkeypatch):
    monkeypatch.setattr(server.cli, "configure_logging", lambda level, format: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for flags in (["--port", str(port)], ["--port", "0", "--metrics-port", str(port)]):
            result = CliRunner().invoke(app, ["serve", *flags])
            assert result.exit_code == 1
            assert f"cannot listen on 127.0.0.1 port {port}: " in result.stderr
            assert "ddress already in use" in result.stderr


def test_what_else_keeps_it_from_starting_is_told_as_it_is(monkeypatch):
    async def refused(settings: Settings) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(server.cli, "serve_until_stopped", refused)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 1 and result.stderr.endswith("depthlive: cannot start: Too many open files\n")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CODECS", "av1", "codecs.0: Input should be 'h264' or 'vp8', got 'av1' (in DEPTHLIVE_CODECS)"),
        ("CODECS", "[", "got '[' (in DEPTHLIVE_CODECS)"),
        ("PORT", "http", "got 'http' (in DEPTHLIVE_PORT)"),
        ("CONFIG", "/", "cannot read the configuration file /: Is a directory"),
    ],
)
def test_law_a_variable_that_cannot_be_used_is_named(served, name, value, told):
    result = CliRunner().invoke(app, ["serve"], env={f"DEPTHLIVE_{name}": value})
    assert result.exit_code == 2 and told in result.stderr
    assert not served


def test_a_setting_of_the_file_that_cannot_be_used_is_named_with_it(served, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("port = -1\n")
    result = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert f"got -1 (in {file})" in result.stderr


@pytest.mark.parametrize("host", ["a" * 64, "no..host"])
def test_a_host_that_is_no_name_is_told_in_words(host, monkeypatch):
    monkeypatch.setattr(server.cli, "configure_logging", lambda level, format: None)
    result = CliRunner().invoke(app, ["serve", "--open", "--host", host])
    assert result.exit_code == 1 and f"cannot listen on {host}" in result.stderr


def test_access_that_cannot_be_used_is_told_in_words(monkeypatch):
    async def refused(settings: Settings) -> None:
        raise UnusableAccess("host: expected --open")

    monkeypatch.setattr(server.cli, "serve_until_stopped", refused)
    result = CliRunner().invoke(app, ["serve"])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "depthlive: host: expected --open")
