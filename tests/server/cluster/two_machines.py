"""For a test, as a process of its own: a cluster of Ray with two nodes, one of which is lost.

python -m tests.server.cluster.two_machines

What it saw is one line of JSON, the last one. Both nodes are of this machine: Ray takes them for two.
"""

import asyncio
import json
import os
import sys
from typing import Any

from server.cluster.journal_actor import journal_client
from server.cluster.ray_runtime import JOURNAL_PREFIX, NAMESPACE, ray_module
from server.journal.record import Record

RECORD = Record(moves=0, needs=("session",), given={"session": b"x"}).encode()
WAIT_S = 240.0


class Client:
    """In a worker's place."""

    def __init__(self) -> None:
        self._journal = journal_client()

    async def put(self, session: str) -> str:
        """Into the journal that this node has."""
        await self._journal.begin()
        await self._journal.put(session, RECORD)
        return ray_module().get_runtime_context().get_node_id()

    async def get(self, session: str) -> bool:
        await self._journal.begin()
        return await self._journal.get(session) == RECORD


async def kept(ray: Any) -> dict[str, list[str]]:
    """Which of the sessions each node's journal has."""
    found = dict[str, list[str]]()
    for name in ray.util.list_named_actors():
        if name.startswith(JOURNAL_PREFIX):
            journal = ray.get_actor(name, namespace=NAMESPACE)
            sessions = ("first", "second")
            has = [session for session in sessions if await journal.get.remote(session) is not None]
            found[name.removeprefix(JOURNAL_PREFIX)] = has
    return found


def main() -> None:
    ray = ray_module()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    cluster = ray_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"first": 1}}
    )
    second = cluster.add_node(num_cpus=1, resources={"second": 1})
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
    cluster.wait_for_nodes(timeout=WAIT_S)
    make = ray.remote(Client)
    clients = {name: make.options(num_cpus=0, resources={name: 1}).remote() for name in ("first", "second")}
    nodes = {name: ray.get(one.put.remote(name), timeout=WAIT_S) for name, one in clients.items()}
    seen: dict[str, Any] = {"nodes": nodes, "kept": asyncio.run(kept(ray))}
    cluster.remove_node(second, allow_graceful=False)  # and with it the journal of the first one's sessions
    seen["goes_on"] = ray.get(clients["first"].get.remote("second"), timeout=WAIT_S)
    print(json.dumps(seen), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
