"""A worker of several ranks in a cluster of Ray: processes of one machine that live and end together."""

import asyncio
import os
import signal

from scripts.cluster_trial import cluster_process
from tests.server.cluster.with_ray import NEEDS_RAY

pytestmark = NEEDS_RAY

ID = "embedded.1"
LIMIT_S = 300.0


async def test_law_a_worker_whose_rank_is_killed_begins_again_with_all_of_them():
    """By gloo, on CPUs, with the built-in model, which has made a chunk when its worker is ready."""
    async with cluster_process(1, "built-in", None, "--gpus", "2") as cluster:
        (former,) = await cluster.tell(f"ranks {ID}")
        os.kill(former, signal.SIGKILL)
        async with asyncio.timeout(LIMIT_S):
            while await followers(cluster) in ([], [former]):  # noqa: ASYNC110 -- of other processes
                await asyncio.sleep(1.0)
            await cluster.ready(1)
        assert len(await followers(cluster)) == 1


async def followers(cluster) -> list[int]:
    try:
        return await cluster.tell(f"ranks {ID}")
    except ConnectionError:  # its actor is just being started again
        return []
