import io
import json
import logging

import pytest

from server.logs import CHUNK, JsonFormatter, TextFormatter, configure_logging, event, session_logger
from tests.server.fakes import Gate
from tests.server.running import until

ID = "0123456789abcdef"


@pytest.fixture
def logged():
    """The lines of a logger in each format."""
    logger, streams = logging.getLogger("tests.logged"), {"text": io.StringIO(), "json": io.StringIO()}
    handlers = [logging.StreamHandler(stream) for stream in streams.values()]
    for handler, formatter in zip(handlers, (TextFormatter(), JsonFormatter()), strict=True):
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield streams
    for handler in handlers:
        logger.removeHandler(handler)


def lines(logged) -> list[dict]:
    return [json.loads(line) for line in logged["json"].getvalue().splitlines()]


def test_session_log_shows_the_beginning_of_the_id_only(logged):
    session_logger("tests.logged", ID).info("%s is here", "gold")
    assert logged["text"].getvalue().endswith("tests.logged: [01234567] gold is here\n")
    assert lines(logged)[0]["session"] == "01234567"
    assert ID not in logged["json"].getvalue()


def test_law_a_json_line_is_one_object(logged):
    logging.getLogger("tests.logged").info("two\nlines: %s", '\u2028 and "quotes"')
    (line,) = lines(logged)
    assert line["message"] == 'two\nlines: \u2028 and "quotes"'
    assert (line["level"], line["logger"]) == ("info", "tests.logged")
    assert line["time"].endswith("Z") and "T" in line["time"]
    assert not {"session", "chunk", "error"} & line.keys()


def test_an_error_and_an_event_are_members_of_the_line(logged):
    logger = session_logger("tests.logged", ID)
    try:
        raise ValueError("gold")
    except ValueError:
        logger.exception("failed", extra=event("session_end", seconds=1.5))
    (line,) = lines(logged)
    assert "ValueError: gold" in line["error"]
    assert (line["event"], line["seconds"], line["session"]) == ("session_end", 1.5, "01234567")


def test_the_chunk_is_that_of_the_task(logged):
    token = CHUNK.set(7)
    try:
        logging.getLogger("tests.logged").info("made")
    finally:
        CHUNK.reset(token)
    logging.getLogger("tests.logged").info("other")
    assert [line.get("chunk") for line in lines(logged)] == [7, None]


def test_connectivity_checks_are_quiet_unless_debugging():
    aioice = logging.getLogger("aioice")
    before = aioice.level
    try:
        configure_logging("info")
        assert aioice.getEffectiveLevel() == logging.WARNING
        aioice.setLevel(logging.NOTSET)
        configure_logging("debug")
        assert aioice.level == logging.NOTSET
    finally:
        aioice.setLevel(before)


@pytest.fixture
def server_log():
    """What the server logs, in JSON."""
    stream, root = io.StringIO(), logging.getLogger("server")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    before, _ = root.level, root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before)


async def test_law_a_session_leaves_one_line_of_totals(server, server_log):
    async with server.viewer() as viewer:
        await viewer.live()
        viewer.send({"type": "prompt.set", "text": "SECRET-PROMPT", "id": "1"})
        await viewer.message("ack")
        assert await viewer.delete() == 200

    def ends() -> list[dict]:
        return [line for line in server_log() if line.get("event") == "session_end"]

    await until(lambda: bool(ends()), "the session has ended")
    (end,) = ends()
    assert end["reason"] == "asked to" and end["transport"] == "webrtc" and end["codec"] in ("h264", "vp8")
    assert end["camera_frames"] > 0 and end["chunks"] > 0 and end["seconds"] >= 0
    assert end["recordings"] == 0 and set(end["dropped"]) == {"camera", "pacing", "stale"}
    assert len(end["session"]) == 8
    assert not any("SECRET-PROMPT" in json.dumps(line) for line in server_log()), "prompts are personal"


class Telling(Gate):
    """Logs in the model's thread, whenever a chunk is to be made."""

    def wait(self, timeout: float | None = None) -> bool:
        logging.getLogger("server.engine.work").info("at work")
        return True


async def test_what_the_models_thread_logs_names_session_and_chunk(server, engine, server_log):
    engine.may_ask = Telling()
    async with server.viewer() as viewer:
        await viewer.live()
        session = viewer.location.rpartition("/")[2][:8]
    at_work = [line for line in server_log() if line["message"] == "at work"]
    assert {line.get("session") for line in at_work} == {session}
    assert at_work[0]["chunk"] == 1
