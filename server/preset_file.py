"""Preset file: the set-up that every new session begins with."""

from pathlib import Path

from server.protocol.codec import ProtocolError
from server.protocol.requests import Command
from server.protocol.setup import MAX_SETUP_BYTES, Setup, SetupRefused, decode_setup
from server.settings import Settings


class PresetUnusable(Exception):
    """The preset file cannot be used; the text names it and all that is wrong with it."""


def read_preset(settings: Settings) -> tuple[Command, ...]:
    """What `preset_file` asks of every new session, as commands; none without it. Raises PresetUnusable."""
    if (path := settings.preset_file) is None:
        return ()
    try:
        setup = decode_setup(_bytes_of(path))
    except OSError as error:
        raise PresetUnusable(f"cannot read the preset file {path}: {error.strerror or error}") from error
    except SetupRefused as refusal:
        raise _unusable(path, str(refusal)) from None
    if errors := _left_out(setup, settings):
        raise _unusable(path, "\n".join(map(str, errors)))
    return setup.commands("preset")


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SETUP_BYTES + 1)  # no more of a file that is none of this kind


def _left_out(setup: Setup, settings: Settings) -> list[ProtocolError]:
    """Controls that streams of this server do without: else each first chunk would be refused."""
    expected = "0: the setting controls leaves it out"
    strengths = {
        "controls.gray": setup.controls and setup.controls.gray,
        "controls.lines": setup.controls and setup.controls.lines,
        "guidance.scale": setup.guidance and setup.guidance.scale,
    }
    names = {"controls.gray": "gray", "controls.lines": "lines", "guidance.scale": "depth"}
    return [
        ProtocolError(field, strength, expected)
        for field, strength in strengths.items()
        if strength and names[field] not in settings.controls
    ]


def _unusable(path: Path, words: str) -> PresetUnusable:
    return PresetUnusable(f"the preset file {path} cannot be used:\n{words}")
