"""A replica of the gateway without Serve: requests and answers stand in for Starlette's."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from server.cluster import serve_gateway
from server.cluster.serve_gateway import GatewayPlan, GatewayReplica
from server.settings import load_settings
from tests.server.cluster.standing_in import SECRET, Actor


class StreamingResponse:
    def __init__(self, pieces: Any, status_code: int) -> None:
        self.pieces, self.status_code = pieces, status_code
        self.raw_headers: list[tuple[bytes, bytes]] = []

    async def text(self) -> str:
        return b"".join([piece async for piece in self.pieces]).decode()


def request(path: str, **headers: str) -> Any:
    return SimpleNamespace(
        method="GET",
        scope={"path": path, "query_string": b""},
        headers={"host": "127.0.0.1"} | headers,
        client=SimpleNamespace(host="127.0.0.1"),
    )


@pytest.fixture
async def replica(monkeypatch):
    monkeypatch.setattr(
        serve_gateway, "ray_module", lambda name: SimpleNamespace(StreamingResponse=StreamingResponse)
    )
    actor: Any = Actor(asyncio.get_running_loop().time)
    plan = GatewayPlan(settings=load_settings({}), secret=SECRET, placement=actor)
    replica = GatewayReplica(plan)
    yield replica
    if replica._http is not None and replica._runner is not None:
        await replica._http.close()
        await replica._runner.cleanup()


async def test_law_a_crowd_that_comes_first_finds_one_application(replica, monkeypatch):
    """Each has limits of its own, and nobody ends one that is forgotten."""
    made, usual = [], serve_gateway.create_gateway

    def create(*arguments: Any, **more: Any) -> Any:
        made.append(usual(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(serve_gateway, "create_gateway", create)
    answers = await asyncio.gather(*(replica(request("/healthz")) for _ in range(5)))
    assert [(answer.status_code, await answer.text()) for answer in answers] == 5 * [(200, "ok")]
    assert len(made) == 1


async def test_a_replica_that_ends_leaves_no_file(replica, monkeypatch, tmp_path):
    monkeypatch.setattr(serve_gateway.tempfile, "tempdir", str(tmp_path))
    await replica(request("/healthz"))
    assert [path.name for path in tmp_path.glob("*/*")] == ["socket"]
    replica.__del__()  # as Serve does
    assert list(tmp_path.iterdir()) == []
