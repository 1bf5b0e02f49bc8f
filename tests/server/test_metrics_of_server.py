"""Figures of the whole server that its parts hold."""

import asyncio

import pytest

from server.engine.watchdog import Watchdog
from server.metrics import Metrics
from server.placement.admission import AdmissionQueue
from server.placement.port import NoPlace
from server.services import Services
from server.transport.peer_registry import PeerRegistry
from tests.server.running import until

TICKET = "ticket-0123456789"


async def figures(server) -> dict[str, float]:
    async with server.http.get(server.url + "/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_a_server_tells_what_its_parts_hold(server, engine):
    engine.memory_bytes = 7 << 30
    await until(lambda: server.worker.info is not None, "the model is ready")
    found = await figures(server)
    assert found["depthlive_ready"] == 1
    assert found["depthlive_engine_silent_seconds"] == 0
    assert found["depthlive_recordings_bytes"] == 0
    assert found["depthlive_waiting"] == 0
    assert found["depthlive_places"] >= 1
    assert any(name.startswith('depthlive_build_info{python="3.') for name in found)
    async with server.viewer() as viewer:
        await viewer.live()
        await until(lambda: server.worker.gpu_memory_bytes > 0, "a chunk is made")
        assert (await figures(server))["depthlive_gpu_memory_bytes"] == 7 << 30


async def test_every_response_is_counted_by_status(server):
    async with server.http.get(server.url + "/nowhere") as response:
        assert response.status == 404
    found = await figures(server)
    assert found['depthlive_http_responses_total{status="404"}'] == 1


@pytest.mark.parametrize(
    ("body", "media_type", "query", "name"),
    [
        ("v=0", "text/plain", "", '{reason="media_type",status="415"}'),
        ("v=0", "application/sdp", "", '{reason="malformed",status="400"}'),
        ("v=0", "application/sdp", "?ticket=short", '{reason="ticket",status="400"}'),
    ],
)
async def test_law_a_refusal_is_counted_by_its_reason(server, body, media_type, query, name):
    headers = {"Content-Type": media_type}
    async with server.http.post(f"{server.url}/whip{query}", data=body, headers=headers) as response:
        assert response.status >= 400
    assert (await figures(server))[f"depthlive_refused_offers_total{name}"] == 1


async def test_who_is_refused_knows_why(settings, worker):
    peers = PeerRegistry(Services(settings, worker, Metrics()))
    await peers.dismiss_all()
    with pytest.raises(NoPlace) as refused:
        peers.check_room(None, "192.0.2.1")
    assert refused.value.why == "stopping"


def test_the_wait_counts_from_the_first_time_that_a_ticket_is_asked_with():
    queue = AdmissionQueue()
    assert queue.waited(TICKET, 0.0) is None and queue.waited(None, 0.0) is None
    for now in (1.0, 6.0, 11.0):
        queue.ask(TICKET, 0, now)
    assert queue.waited(TICKET, 12.0) == 11.0
    assert queue.num_present(12.0) == 1 and queue.num_present(22.0) == 0


@pytest.mark.virtual_time
async def test_law_a_thread_that_owes_an_answer_is_silent_from_what_it_last_told():
    dog = Watchdog(100.0, lambda: None)
    assert dog.silence() == 0
    dog.expect()
    await asyncio.sleep(5)
    assert dog.silence() == pytest.approx(5)
    dog.heard()
    assert dog.silence() == 0
    await asyncio.sleep(2)
    assert dog.silence() == pytest.approx(2)
    dog.answered()
    assert dog.silence() == 0
