"""Server with the fake engine in a process of its own, for tests of how processes end.

python -m tests.server.own_process serve --port 8090 ...

The prompt "hang" lets the model's thread hang for ever, "exit" ends it.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import server.app
import server.cli
import server.restart
from scripts.bench.servers.loopback_ice import ice_on_loopback
from server.engine.client import EngineClient
from tests.server import fakes

original = fakes.LiveStream.step


def step(
    self: fakes.LiveStream, frames: Sequence[Any], asked: Callable[[], Any], on_frames: Callable[[Any], None]
) -> Any:
    def seen() -> Any:
        parameters = asked()
        if any(text == "hang" for text, _ in parameters.prompts or ()):
            threading.Event().wait()
        return parameters

    return original(self, frames, seen, on_frames)


if __name__ == "__main__":
    fakes.LiveStream.step = step
    server.restart.PERIOD_S = 0.0
    module: Any = fakes.FakeEngineModule()
    server.app.EngineClient = lambda settings: EngineClient(settings, import_engine=lambda: module)
    with ice_on_loopback():
        server.cli.app()
