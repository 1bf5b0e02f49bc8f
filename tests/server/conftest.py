import logging

import aioice.ice
import pytest

from server.settings import Settings, load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import running_server, started_worker


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    """ICE on 127.0.0.1, which aioice leaves out of its candidates by itself."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No setting of the developer's own."""
    import os

    for name in [name for name in os.environ if name.startswith("DEPTHLIVE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def quiet_aioice():
    logging.getLogger("aioice").setLevel(logging.WARNING)


@pytest.fixture
def engine() -> FakeEngineModule:
    return FakeEngineModule()


@pytest.fixture
def settings() -> Settings:
    return load_settings({"prompt": "clay", "seed": 3, "stamp_source": False})


@pytest.fixture
async def worker(settings, engine):
    """A started worker around the fake engine, stopped at the end."""
    async with started_worker(settings, engine) as worker:
        yield worker


@pytest.fixture
async def server(settings, engine):
    """The whole application on a port of 127.0.0.1, with the fake engine."""
    async with running_server(settings, engine) as running:
        yield running
