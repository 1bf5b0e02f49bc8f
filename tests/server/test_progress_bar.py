from types import SimpleNamespace

import pytest

from server.progress_bar import progress_bar

STEP = SimpleNamespace(file="google/umt5-xxl/spiece.model", stage="download", all_done=31, all_total=67)


def test_a_terminal_sees_the_file_and_how_far_it_is(capsys, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    with progress_bar() as show:
        show(STEP)
    told = capsys.readouterr()
    assert "spiece.model" in told.err and "31/67" in told.err and not told.out


def test_anything_else_sees_nothing(capsys):
    with progress_bar() as show:
        show(STEP)
    assert capsys.readouterr() == ("", "")
