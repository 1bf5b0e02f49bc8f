"""For tests: the actor of placement without Ray, and a cluster's workers and gateway in one process."""

from collections.abc import Callable
from typing import Any

from server.cluster.placement_actor import RayPlacement
from server.cluster.placement_service import PlacementService
from server.placement.table import PlacementTable

SECRET = b"a secret of the cluster, 32 bytes" * 2


class ActorGone(Exception):
    """As calls of an actor raise that has ended."""


class Handle:
    """Of an actor: `handle.method.remote(...)` gives what can be awaited."""

    def __init__(self, service: PlacementService) -> None:
        self.service = service
        self.is_alive = True

    def __getattr__(self, name: str) -> Any:
        class Method:
            async def remote(method, *arguments: object) -> Any:
                if not self.is_alive:
                    raise ActorGone
                return await getattr(self.service, name)(*arguments)

        return Method()


class Actor:
    """The named actor, which is made again where it has ended."""

    def __init__(self, now: Callable[[], float], **options: Any) -> None:
        self._now, self._options = now, options
        self.num_made = 0
        self.handle: Handle | None = None

    def find(self) -> Handle:
        if self.handle is None or not self.handle.is_alive:
            self.num_made += 1
            self.handle = Handle(PlacementService(PlacementTable(**self._options), SECRET, self._now))
        return self.handle

    def end(self) -> None:
        assert self.handle is not None
        self.handle.is_alive = False

    def client(self) -> RayPlacement:
        return RayPlacement(self.find, (ActorGone,))
