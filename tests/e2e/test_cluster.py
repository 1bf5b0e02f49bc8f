"""The page in front of a cluster: it knows of its gateway alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from server.access.tokens import Grant, SignedTokens
from tests.e2e.page import (
    LIVE_LIMIT_MS,
    frames_shown,
    start_session,
    wait_applied,
    wait_live,
    wait_passed,
    wait_until,
)
from tests.e2e.servers import ClusterServer, fake_engine_cluster
from tests.e2e.visits import PagePool, Visit, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECRET = b"0123456789abcdef" * 4
TOKEN = SignedTokens(SECRET).make(Grant("ann", "publish"))
SHOWN_LIMIT_S = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServer]:
    """Two workers, and tokens."""
    secret = tmp_path_factory.mktemp("cluster") / "secret"
    secret.write_bytes(SECRET)
    with fake_engine_cluster(2, auth_secret_file=secret) as server:
        yield replace(server, token=TOKEN)


def test_law_the_page_streams_records_and_goes_on_when_its_worker_drains(
    pool: PagePool, cluster: ClusterServer
) -> None:
    with pages_of(pool, cluster) as open_page:
        visit = open_page()
        page = visit.page
        page.fill("#login-token", TOKEN)
        page.press("#login-token", "Enter")
        expect(page.locator("#login")).to_be_hidden()
        session = start_session(page)
        page.fill("#prompt", "a glacier of blue ice")
        page.click("#send")
        wait_applied(page, "Prompt")
        with page.expect_download() as snapshot:  # handed on by the gateway
            page.click("#snapshot")
        assert snapshot.value.path().read_bytes().startswith(b"\x89PNG")
        at = cluster.ask(cluster.cluster.worker_of(session))
        assert at is not None
        cluster.ask(cluster.cluster.placement.drain(at))
        wait_passed(page, "reconnecting")
        wait_live(page)
        shown = frames_shown(page)
        assert wait_until(lambda: frames_shown(page) > shown + 10, SHOWN_LIMIT_S)
        found = cluster.ask(cluster.cluster.worker_of(session))
        assert found not in (None, at), "the same session, at the other worker"
        expect(page.locator("#prompt")).to_have_value("a glacier of blue ice", timeout=LIVE_LIMIT_MS)
        page.click("#stop")
        expect(page.locator("#start")).to_be_enabled()
        visit.errors.clear()  # of requests while its worker was going


def test_law_where_udp_is_blocked_pictures_come_from_the_worker_itself(
    pool: PagePool, cluster: ClusterServer
) -> None:
    with pages_of(pool, cluster) as open_page:
        sockets: list[str] = []

        def note_sockets(visit: Visit) -> None:
            visit.on("websocket", lambda one: sockets.append(one.url))

        page = open_page(path="/?transport=ws", prepare=note_sockets).page
        page.fill("#login-token", TOKEN)
        page.press("#login-token", "Enter")
        expect(page.locator("#login")).to_be_hidden()
        page.click("#start")
        wait_live(page)
        assert wait_until(lambda: frames_shown(page) > 10, SHOWN_LIMIT_S)
        assert len(sockets) == 1 and not sockets[0].startswith(cluster.url.replace("http", "ws"))
        page.click("#stop")
        expect(page.locator("#start")).to_be_enabled()
