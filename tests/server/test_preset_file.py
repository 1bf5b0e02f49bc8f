"""The preset file: what it names is what sessions begin with, or why not."""

import json

import pytest
from typer.testing import CliRunner

import server.cli
from server.cli import app
from server.preset_file import PresetUnusable, read_preset
from server.protocol.requests import SetGuidance
from server.protocol.setup import MAX_SETUP_BYTES
from server.settings import load_settings


def commands_of(path, **settings):
    return read_preset(load_settings({"preset_file": path, **settings}))


def test_without_a_file_nothing_is_in_effect_before():
    assert read_preset(load_settings({})) == ()


def test_a_file_is_read_with_or_without_a_mark(tmp_path):
    file = tmp_path / "p.json"
    for mark in ("", "\ufeff"):
        file.write_text(mark + '{"version": 1, "guidance": {"scale": 0.5}}', encoding="utf-8")
        assert commands_of(file) == (SetGuidance(id="preset-guidance", scale=0.5),)


def test_all_that_is_wrong_is_told_with_the_file(tmp_path):
    file = tmp_path / "p.json"
    file.write_text('{"version": 1, "guidance": {"scale": 9}, "x": 1}')
    with pytest.raises(PresetUnusable) as error:
        commands_of(file)
    assert str(error.value).splitlines() == [
        f"the preset file {file} cannot be used:",
        "guidance.scale: got 9, expected a number from 0 to 2",
        "x: got 1, expected no such part of a set-up",
    ]


def test_a_control_that_streams_do_without_is_refused_here_and_not_with_each_session(tmp_path):
    file = tmp_path / "p.json"
    parts = {"guidance": {"scale": 0.5}, "controls": {"gray": 1, "lines": 0}}
    file.write_text(json.dumps({"version": 1, **parts}))
    assert len(commands_of(file)) == 2
    with pytest.raises(PresetUnusable, match="controls.gray: got 1.0, expected 0: the setting controls"):
        commands_of(file, controls=("depth",))
    with pytest.raises(PresetUnusable, match="guidance.scale: got 0.5, expected 0: the setting controls"):
        commands_of(file, controls=("gray",))


def test_a_file_that_is_missing_or_too_large_is_told(tmp_path):
    with pytest.raises(PresetUnusable, match="cannot read the preset file .*none.json: No such file"):
        commands_of(tmp_path / "none.json")
    with pytest.raises(PresetUnusable, match="cannot read the preset file"):
        commands_of(tmp_path)
    (tmp_path / "large.json").write_bytes(b" " * (2 * MAX_SETUP_BYTES))
    with pytest.raises(PresetUnusable, match=f"at most {MAX_SETUP_BYTES} bytes"):
        commands_of(tmp_path / "large.json")


def test_the_command_ends_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(server.cli, "configure_logging", lambda level, format: None)
    file = tmp_path / "p.json"
    file.write_text('{"version": 2}')
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--preset-file", str(file)])
    assert done.exit_code == 2
    assert "version: got 2, expected 1, the newest that is known here" in done.output
