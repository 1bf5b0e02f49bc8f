"""Cluster with engines that sleep, or a small built-in model: told by lines on stdin what to go wrong with.

python -m scripts.bench.servers.small_cluster --port 8080 --workers 3 --engine sleeping

    kill-worker ID | drain ID | scale COUNT | kill-placement | kill-gateway | workers | new | ranks ID | end

Each is answered by one line of JSON. It ends with its stdin, and everything with it.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from typing import Annotated, Any, Literal

import typer

from scripts.bench.servers.loopback_ice import offer_loopback
from scripts.bench.servers.sleeping_engine import import_sleeping_engine
from scripts.bench.servers.small_server import use_small_model
from server.cluster import ray_runtime
from server.cluster.journal_actor import ActorJournals
from server.cluster.lifecycle import ClusterPlan, drain, existing, is_up, statuses, up
from server.cluster.ray_runtime import WORKER_PREFIX, NoCluster
from server.engine.thread import import_engine
from server.settings import load_settings

GATEWAY = "gateway"
Engine = Literal["sleeping", "built-in"]


def import_small_engine() -> Any:
    """As `import_sleeping_engine`, the real one, with small pictures in one step: a few streams of the model
    as it ships take all of a small machine."""
    use_small_model()
    return import_whole_engine()


def import_whole_engine() -> Any:
    """The real one as it ships. Other ranks know of no other: they are processes of their own."""
    offer_loopback()
    return import_engine()


def kill_worker(ray: Any, id: str) -> int:
    """By SIGKILL, as a machine that runs out of memory would; returns its number."""
    actor = ray.get_actor(WORKER_PREFIX + id, namespace=ray_runtime.NAMESPACE)
    number = ray.get(actor.process.remote())
    os.kill(number, signal.SIGKILL)
    return number


def kill_placement(ray: Any) -> None:
    """For good, as where a machine is lost: whoever asks next makes it again."""
    ray.kill(ray.get_actor(ray_runtime.PLACEMENT, namespace=ray_runtime.NAMESPACE), no_restart=True)


def kill_gateway(ray: Any) -> int:
    """All replicas at once; returns how many. Serve begins them again."""
    found = [one for one in ray.util.list_named_actors(all_namespaces=True) if f"#{GATEWAY}#" in one["name"]]
    for one in found:
        ray.kill(ray.get_actor(one["name"], namespace=one["namespace"]), no_restart=True)
    return len(found)


def followers(ray: Any, id: str) -> list[int]:
    """Numbers of the processes of a worker's other ranks."""
    actor = ray.get_actor(WORKER_PREFIX + id, namespace=ray_runtime.NAMESPACE)
    leader = ray.get(actor.process.remote())
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    children = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, parent, what in children if int(parent) == leader and "spawn_main" in what]


def not_kept_yet(ray: Any) -> list[str]:
    """Sessions that no journal has: they have made no chunk yet, and cannot go on elsewhere."""
    journals = ActorJournals().all()
    sessions = [held.id for one in statuses(existing()) for held in one.report.sessions]
    return [id for id in sessions if not any(ray.get([journal.found.remote(id) for journal in journals]))]


def _do(ray: Any, plan: ClusterPlan, line: list[str]) -> Any:
    match line:
        case ["kill-worker", id]:
            return kill_worker(ray, id)
        case ["drain", id]:
            return drain(existing(), id)
        case ["scale", count]:
            scaled = ClusterPlan(
                settings=plan.settings,
                workers=dict.fromkeys(plan.workers, int(count)),
                import_engine=plan.import_engine,
            )
            up(scaled)
            return None
        case ["kill-placement"]:
            return kill_placement(ray)
        case ["kill-gateway"]:
            return kill_gateway(ray)
        case ["ranks", id]:
            return followers(ray, id)
        case ["new"]:
            return not_kept_yet(ray)
        case ["workers"]:
            return [
                {
                    "id": one.report.worker,
                    "is_ready": one.report.is_ready and not one.report.is_draining and not one.is_lost,
                    "silent_s": one.silent_s,
                    "sessions": [held.id for held in one.report.sessions if not held.is_kept],
                }
                for one in statuses(existing())
            ]
        case _:
            raise ValueError(f"got {line}; expected one of those at the top of this file")


def main(
    port: Annotated[int, typer.Option(help="Of the gateway.")],
    workers: Annotated[int, typer.Option(min=1)] = 3,
    engine: Annotated[Engine, typer.Option()] = "sleeping",
    max_sessions: Annotated[int, typer.Option(min=1, help="Places of each worker.")] = 4,
    gateways: Annotated[int, typer.Option(min=1)] = 1,
    gpus: Annotated[int, typer.Option(min=1, help="Processes of a worker that work on a stream.")] = 1,
) -> None:
    """Begin Ray and the cluster, then do as told."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asked = {"port": port, "max_sessions": max_sessions, "min_fps": 0.0, "gpus": gpus, "depth": "edges"}
    asked["max_connecting_per_address"] = 64  # all clients of a trial come at once, from one address
    settings = load_settings(asked | ({"device": "cpu"} if gpus > 1 else {}))
    built_in = import_small_engine if gpus == 1 else import_whole_engine
    used = import_sleeping_engine if engine == "sleeping" else built_in
    plan = ClusterPlan(
        settings=settings, workers={settings.model: workers}, gateways=gateways, import_engine=used
    )
    ray_runtime.begin()
    ray = ray_runtime.ray_module()
    up(plan)
    assert is_up()
    typer.echo(json.dumps({"done": "up"}))
    try:
        for line in sys.stdin:
            if line.split() == ["end"]:
                break
            try:
                done = _do(ray, plan, line.split())
            except (ConnectionError, NoCluster, ValueError, KeyError, ray.exceptions.RayError) as error:
                typer.echo(json.dumps({"error": repr(error)}))
            else:
                typer.echo(json.dumps({"done": done}))
    finally:
        ray_runtime.end()


if __name__ == "__main__":
    typer.run(main)
