"""`depthlive camera`: a session's pictures in a virtual camera; words and exit codes."""

import asyncio
import sys

import pytest
from typer.testing import CliRunner, Result

from server.access.tokens import Grant, SignedTokens
from server.cli import app
from server.settings import load_settings
from server.virtual_camera import watch
from tests.server.fakes import HEIGHT, WIDTH
from tests.server.running import CAMERA_FPS, running_server, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.virtual_camera.stand_in import install
from tests.server.webrtc.watching import viewers

SECRET = "0123456789abcdef0123456789abcdef"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["camera", *map(str, arguments)])


async def test_law_a_sessions_pictures_are_in_the_camera_until_it_is_over(engine, monkeypatch):
    opened = install(monkeypatch)
    monkeypatch.setattr(watch, "GONE_S", -1.0)
    settings = load_settings({"max_fps": CAMERA_FPS})
    async with running_server(settings, engine) as server, server.viewer() as publisher:
        await publisher.live()
        size = f"{2 * WIDTH}x{2 * HEIGHT}"
        running = asyncio.create_task(
            asyncio.to_thread(run, "--session", id_of(publisher), "--url", f"{server.url}/", "--size", size)
        )
        await until(lambda: bool(opened) and len(reds(opened[0])) > 10, "pictures that move")
        assert await viewers(server) == 1
        await publisher.delete()
        result = await running
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"The virtual camera /dev/video9 is open, {size} at 30 pictures a second.",
        "Watching.",
        "The connection is lost; trying again in 1 s.",
        "The session is over.",
    ]
    assert opened[0].is_closed


def reds(device) -> set[int]:
    """The fake engine counts frames in red."""
    return {round(picture[..., 0].mean()) for picture in device.sent}


async def test_a_token_lets_it_in_and_is_not_told(engine, monkeypatch, tmp_path):
    install(monkeypatch)
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_text(SECRET)
    settings = load_settings({"auth_secret_file": secret})
    async with running_server(settings, engine) as server:

        async def asked(role: str | None) -> Result:
            arguments = ["--session", "unknown", "--url", server.url]
            if role is not None:
                token.write_text(SignedTokens(SECRET.encode()).make(Grant("ann", role)) + "\n")  # type: ignore[arg-type]
                arguments += ["--token-file", str(token)]
            return await asyncio.to_thread(run, *arguments)

        without, viewer = await asked(None), await asked("view")
    assert without.exit_code == 1 and "expected a token" in without.stderr
    assert viewer.exit_code == 1 and "no such session" in viewer.stderr
    assert token.read_text().strip() not in viewer.output


def test_without_the_extra_it_ends_with_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    result = run("--session", "x")
    assert result.exit_code == 1 and "pip install 'depthlive[camera]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--session", "no/id"], "session: expected the id of a session, got 'no/id'"),
        (["--session", "x", "--url", "127.0.0.1:8080"], "url: expected the address of a server"),
        (["--session", "x", "--url", "http://[1"], "url: expected the address of a server"),
        (["--session", "x", "--size", "0x0"], "size: expected WIDTHxHEIGHT"),
        (["--session", "x", "--size", "1280x721"], "size: expected WIDTHxHEIGHT"),
        (["--session", "x", "--size", "wide"], "got 'wide'"),
        (["--session", "x", "--token-file", "/nowhere"], "token-file: /nowhere cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(arguments, told, monkeypatch):
    opened = install(monkeypatch)
    result = run(*arguments)
    assert result.exit_code == 2 and told in result.stderr and "Traceback" not in result.output
    assert opened == []


def test_a_file_that_holds_no_token_is_told_without_what_it_holds(monkeypatch, tmp_path):
    install(monkeypatch)
    (tmp_path / "file").write_text("two words")
    result = run("--session", "x", "--token-file", tmp_path / "file")
    assert (
        result.exit_code == 2 and "expected one token" in result.stderr and "two words" not in result.output
    )
