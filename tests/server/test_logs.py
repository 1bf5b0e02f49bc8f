import logging

from server.logs import configure_logging, session_logger


def test_session_log_shows_the_beginning_of_the_id_only(caplog):
    with caplog.at_level(logging.INFO, logger="test"):
        session_logger("test", "0123456789abcdef").info("%s is here", "gold")
    assert caplog.messages == ["[01234567] gold is here"]


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
