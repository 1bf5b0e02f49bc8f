"""What the page makes of a server that loses its model and starts again."""

import json
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.page import LIVE_LIMIT_MS, start_session, wait_live
from tests.e2e.servers import ANSWER_LIMIT_S, server_process
from tests.e2e.visits import PagePool, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_law_the_page_is_back_by_itself_when_the_server_starts_again(pool: PagePool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        server_process(log, command="tests.server.own_process serve") as server,
        pages_of(pool, server) as open_page,
    ):
        visit = open_page()
        page = visit.page
        session = start_session(page)
        message = {"type": "prompt.set", "id": "1", "text": "exit"}  # ends the model, see own_process
        request = urllib.request.Request(
            f"{server.url}/sessions/{session}/commands",
            json.dumps(message).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S).close()
        expect(page.locator("#problem")).to_contain_text("the server starts again", timeout=LIVE_LIMIT_MS)
        wait_live(page)
        assert log.read_text().count("Serving on") == 2
        expect(page.locator("#problem")).to_be_empty()
        visit.errors.clear()  # of requests while it was away
